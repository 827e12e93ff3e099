// The direct invoke by k6, signed in the script with Signature Version 4; the key of the day is kept.
import http from 'k6/http';
import crypto from 'k6/crypto';

export const options = { vus: Number(__ENV.USERS), duration: __ENV.DURATION, insecureSkipTLSVerify: true };
const CHOICES = ['red', 'green', 'blue', 'yellow'];
const HOST = __ENV.URL.split('://')[1];
const PATH = '/2015-03-31/functions/place-vote/invocations';
const SIGNED = 'content-type;host;x-amz-date;x-amz-invocation-type';
let keyOf = '';
let key = null;

function signingKey(day) {
  if (keyOf !== day) {
    key = 'AWS4benchmark';
    for (const part of [day, 'eu-west-1', 'lambda', 'aws4_request']) {
      key = crypto.hmac('sha256', key, part, 'binary');
    }
    keyOf = day;
  }
  return key;
}

export default function () {
  const body = JSON.stringify({
    vote_id: `poll-${1 + Math.floor(Math.random() * 10)}`,
    token: Math.random().toString(16).slice(2),
    vote_choice: CHOICES[Math.floor(Math.random() * 4)],
  });
  const at = new Date().toISOString().replace(/[:-]|\.\d{3}/g, '');
  const scope = `${at.slice(0, 8)}/eu-west-1/lambda/aws4_request`;
  const canonical =
    `POST\n${PATH}\n\ncontent-type:application/json\nhost:${HOST}\nx-amz-date:${at}\n` +
    `x-amz-invocation-type:RequestResponse\n\n${SIGNED}\n${crypto.sha256(body, 'hex')}`;
  const text = `AWS4-HMAC-SHA256\n${at}\n${scope}\n${crypto.sha256(canonical, 'hex')}`;
  const signature = crypto.hmac('sha256', signingKey(at.slice(0, 8)), text, 'hex');
  http.post(`${__ENV.URL}${PATH}`, body, {
    headers: {
      'Content-Type': 'application/json',
      'X-Amz-Date': at,
      'X-Amz-Invocation-Type': 'RequestResponse',
      Authorization: `AWS4-HMAC-SHA256 Credential=benchmark/${scope}, SignedHeaders=${SIGNED}, Signature=${signature}`,
    },
  });
}
