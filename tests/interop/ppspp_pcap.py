"""Datagrams as a capture file that Wireshark reads: IPv4 without a link layer."""
import ipaddress
import struct

LINKTYPE_IPV4 = 228


class Capture:
    def __init__(self, path):
        self.file = open(path, 'wb')
        self.file.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, LINKTYPE_IPV4))

    def add(self, when, source, destination, payload):
        udp = struct.pack('>HHHH', source[1], destination[1], 8 + len(payload), 0) + payload
        head = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                           ipaddress.IPv4Address(source[0]).packed, ipaddress.IPv4Address(destination[0]).packed)
        total = sum(struct.unpack('>10H', head))
        total = (total & 0xffff) + (total >> 16)
        packet = head[:10] + struct.pack('>H', ~(total + (total >> 16)) & 0xffff) + head[12:] + udp
        self.file.write(struct.pack('<IIII', int(when), int(when % 1 * 1e6), len(packet), len(packet)) + packet)

    def close(self):
        self.file.close()
