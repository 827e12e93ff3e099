// Users of k6 that have sent one vote and now wait, each with its connection open.
import http from 'k6/http';
import { sleep } from 'k6';

export const options = { vus: Number(__ENV.USERS), duration: __ENV.DURATION };

export default function () {
  http.post(`${__ENV.URL}/vote`, '{"vote_id":"poll-1","token":"0","vote_choice":"red"}', {
    headers: { 'Content-Type': 'application/json' },
  });
  sleep(3600);
}
