// The vote POST by k6.
import http from 'k6/http';

export const options = { vus: Number(__ENV.USERS), duration: __ENV.DURATION, insecureSkipTLSVerify: true };
const CHOICES = ['red', 'green', 'blue', 'yellow'];
const HEADERS = { headers: { 'Content-Type': 'application/json' } };

export default function () {
  const body = JSON.stringify({
    vote_id: `poll-${1 + Math.floor(Math.random() * 10)}`,
    token: Math.random().toString(16).slice(2),
    vote_choice: CHOICES[Math.floor(Math.random() * 4)],
  });
  http.post(`${__ENV.URL}/vote`, body, HEADERS);
}
