// What somebody who knows k6 would write against the vote API.
import http from 'k6/http';
import { check } from 'k6';

export const options = { vus: 5, iterations: 200, thresholds: { checks: ['rate==1'] } };

export default function () {
  const vote = JSON.stringify({ vote_id: 'k6', token: `${__VU}-${__ITER}`, vote_choice: 'green' });
  const answer = http.post(`${__ENV.API}/vote`, vote, { headers: { 'Content-Type': 'application/json' } });
  check(answer, { 'status is 200': (r) => r.status === 200, 'has an id': (r) => !!r.headers['X-Amzn-Requestid'] });
}
