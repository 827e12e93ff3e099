"""The ceiling: gevent sockets that send the same bytes again and again and look at nothing that comes back.

python bare_socket.py URL USERS
"""

import ssl
import sys
from typing import NoReturn
from urllib.parse import urlsplit

import gevent
import gevent.socket
import gevent.ssl

BODY = b'{"vote_id":"poll-1","token":"0123456789abcdef","vote_choice":"red"}'


def send_for_ever(url: str) -> NoReturn:
    parts = urlsplit(url)
    connection = gevent.socket.create_connection((parts.hostname, parts.port))
    if parts.scheme == "https":
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    request = (
        f"POST {parts.path}/vote HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    while True:
        connection.sendall(request)
        connection.recv(65536)


if __name__ == "__main__":
    gevent.joinall([gevent.spawn(send_for_ever, sys.argv[1]) for _ in range(int(sys.argv[2]))], raise_error=True)
