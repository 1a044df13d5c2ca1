"""What a relay's memory, files and output may not hold. Root reads /proc/PID/mem."""
import base64
import mmap
import pathlib
import socket
import struct

LARGEST = 1 << 30  # of a mapping that is read: larger ones are sanitizers' tables, of no octets
PIECE = 1 << 16    # of it at a time
PAGE = mmap.PAGESIZE
OVERLAP = 128      # of the piece before, for what stands in both: no form is longer


def packed(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)


def of_id(swarm_id):
    """Name of each form of a swarm id to its octets. Base32 writes five octets as eight letters: what
    stands before the id (in x= of a link 17 octets) decides at which of five places its letters begin."""
    forms = {"the swarm id": swarm_id, "the swarm id in hex": swarm_id.hex().encode()}
    for before in range(5):
        whole = -(-before * 8 // 5)  # the first letter that is of the id alone
        text = base64.b32encode(bytes(before) + swarm_id)[whole:whole + 40]
        forms[f"the swarm id in base32, {before} octets on"] = text.lower()
        forms[f"the swarm id in BASE32, {before} octets on"] = text
    return forms


def of_content(swarm_id, marker):
    """Name of each form of what was carried to its octets."""
    return {**of_id(swarm_id), "content": marker}


def of_address(name, address, ports):
    """An address as text, as the program's own struct, and with a port as systems, the DHT and
    our own formats write it. Four octets alone may stand anywhere by chance."""
    raw = packed(address)
    if len(raw) == 16:
        return {f"the address of {name}": raw, f"the address of {name} as text": address.encode()}
    forms = {f"the address of {name} as text": address.encode(),
             f"the address of {name} in a struct": raw + bytes(12)}
    for port in ports:
        forms[f"the address of {name} with port {port}"] = raw + struct.pack(">H", port)
        forms[f"the address of {name}, little-endian port {port}"] = raw + struct.pack("<H", port)
        forms[f"a socket's address of {name}, port {port}"] = \
            struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + raw
    return forms


def of_endpoint(name, address, port):
    """One of the ports of an address whose other ports somebody knows, with good reason."""
    raw = packed(address)
    text = f"[{address}]:{port}" if len(raw) == 16 else f"{address}:{port}"
    if len(raw) == 4:
        forms = {label: form for label, form in of_address(name, address, [port]).items() if "port" in label}
    else:
        family = struct.pack("<H", socket.AF_INET6) + struct.pack(">H", port)
        forms = {f"the address of {name} with port {port}": raw + struct.pack(">H", port),
                 f"the address of {name}, little-endian port {port}": raw + struct.pack("<H", port),
                 f"a socket's address of {name}, port {port}": family + bytes(4) + raw}
    return {**forms, f"port {port} of {name} as text": text.encode()}


def is_there(data, form, label):
    at = data.find(form)
    if "in a struct" not in label:
        return at >= 0
    while at >= 0:  # ip 16 | port | family 4 | zero
        if data[at + 18:at + 20] == b"\x04\x00":
            return True
        at = data.find(form, at + 1)
    return False


def found(data, forms):
    return {label for label, form in forms.items() if is_there(data, form, label)}


def is_empty(pages, at, octets):
    """No page of it was ever touched: its word in pagemap says neither that it is in memory, nor
    that it was swapped out."""
    pages.seek(at // PAGE * 8)
    return max(pages.read(octets // PAGE * 8)[7::8], default=0xff) < 0x40


def memory(pid):
    """The octets of every mapping of a process that can be written, and of no other's file. Most of
    a sanitizer's were never touched: of those a few zeros."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pages, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            span, rights, _ = line.split(" ", 2)
            low, high = (int(x, 16) for x in span.split("-"))
            if "rw" not in rights or high - low > LARGEST or "[v" in line:
                continue
            at = low
            while at < high:
                piece = min(high - at, PIECE)
                if is_empty(pages, at, piece):
                    yield bytes(OVERLAP)
                    at += piece
                    continue
                try:
                    mem.seek(at)
                    part = mem.read(piece)
                except OSError:  # a mapping that went meanwhile, or one of no memory
                    break
                if not part:
                    break
                yield part
                at += len(part)


def in_memory(pid, forms):
    """What was found, and how many octets were looked at. Nine tenths of a sanitizer's memory are
    zeros, in which nothing begins."""
    labels, octets, before = set(), 0, b""
    for part in memory(pid):
        octets += len(part)
        empty = not part.strip(b"\0")
        both = before + (part[:OVERLAP] if empty else part)
        if both.strip(b"\0"):
            labels |= found(both, forms)
        before = part[-OVERLAP:]
    return labels, octets


def in_files(paths, forms):
    """Names of files to what was found in them."""
    bad = {}
    for top in map(pathlib.Path, paths):
        for path in [top] if top.is_file() else [p for p in top.rglob("*") if p.is_file()]:
            labels = found(path.read_bytes(), forms)
            if labels:
                bad[path.name] = labels
    return bad
