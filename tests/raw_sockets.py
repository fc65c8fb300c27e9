"""WebSocket frames as a client that breaks the rules would send them."""

import base64
import os
import socket
import struct

from server_process import ServerProcess


def raw_request(server: ServerProcess, *more: str, path: str = "/v1/stream") -> socket.socket:
    """Return a connection that has asked for an upgrade."""
    lines = [
        f"GET {path}?language=eng HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *more,
    ]
    connection = server.connect()
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def upgraded(server: ServerProcess, *more: str) -> socket.socket:
    """Return a connection behind the handshake."""
    connection = raw_request(server, *more)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 101"), received
    return connection


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, length: int = -1) -> bytes:
    """Return a frame of a client; `length` may lie."""
    size = len(payload) if length < 0 else length
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0xFE]) + struct.pack("!H", size)
    else:
        head += bytes([0xFF]) + struct.pack("!Q", size)
    return head + b"\0\0\0\0" + payload  # masked with zeros


def closing_code(connection: socket.socket) -> int:
    """Return the code of the close frame, behind any other frames; 0 without one."""
    received = b""
    while more := connection.recv(65536):
        received += more
    place = received.find(b"\x88")
    return struct.unpack("!H", received[place + 2 : place + 4])[0] if place >= 0 else 0
