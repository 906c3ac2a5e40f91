#!/usr/bin/env python3
"""The Python peer: an echo server on the standard library's ThreadingTCPServer.

A thread for each connection, sends back what it receives until the client is done.
Usage: echo.py --addr 127.0.0.1:PORT
"""

import argparse
import socket
import socketserver


class Echo(socketserver.BaseRequestHandler):
    def setup(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self):
        try:
            while data := self.request.recv(8192):
                self.request.sendall(data)
        except ConnectionError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096


def main():
    parser = argparse.ArgumentParser(description="echo server")
    parser.add_argument("--addr", default="127.0.0.1:0", help="IP:PORT")
    host, _, port = parser.parse_args().addr.rpartition(":")
    with Server((host, int(port)), Echo) as server:
        print("listening on {}:{}".format(*server.server_address), flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
