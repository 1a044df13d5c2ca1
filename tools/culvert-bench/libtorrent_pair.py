#!/usr/bin/python3
"""Debian's libtorrent carries FILE from one process to another over loopback, as `culvert-bench
ppsp --vs libtorrent` wants it: the clock runs from the first piece to the last, CPU time is the
operating system's account of both processes from start to end of the transfer.

The seeder takes FILE as it is (seed mode: no hashing), the leecher checks every piece (SHA-1, a
version 1 torrent, which is what libtorrent is fastest at). One JSON object on standard output.
Usage: libtorrent_pair.py FILE FOLDER [tcp|utp]
"""
import json
import os
import resource
import select
import socket
import sys
import time

import libtorrent as lt  # Debian: python3-libtorrent


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def session(transport):
    tcp, category = transport == 'tcp', lt.alert.category_t
    return lt.session({
        'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False,
        'enable_natpmp': False, 'allow_multiple_connections_per_ip': True,
        'enable_outgoing_tcp': tcp, 'enable_incoming_tcp': tcp,
        'enable_outgoing_utp': not tcp, 'enable_incoming_utp': not tcp,
        'alert_mask': category.status_notification | category.piece_progress_notification | category.error_notification,
    })


def wake_on_alerts(s):
    """The end of a socket pair that becomes readable when `s` has alerts. wait_for_alert() would do, but
    it looks at an alert that a thread of the session may have moved meanwhile, and crashes some times
    in a hundred."""
    mine, theirs = socket.socketpair()
    theirs.setblocking(False)
    s.set_alert_fd(theirs.detach())
    return mine


def seed(info, folder, transport, out, stop):
    s = session(transport)
    params = lt.add_torrent_params()
    params.ti, params.save_path = info, folder
    params.flags = lt.torrent_flags.seed_mode
    s.add_torrent(params)
    while not s.listen_port():
        time.sleep(0.01)
    time.sleep(0.2)
    before = cpu()
    os.write(out, f'{s.listen_port()}\n'.encode())
    if not os.read(stop, 1):  # the transfer is over, or the leecher died
        os._exit(1)
    os.write(out, f'{cpu() - before}\n'.encode())
    os._exit(0)


def main():
    file, folder, transport = os.path.abspath(sys.argv[1]), sys.argv[2], (sys.argv[3:] or ['tcp'])[0]
    storage = lt.file_storage()
    lt.add_files(storage, file)
    torrent = lt.create_torrent(storage, 0, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, os.path.dirname(file))
    info = lt.torrent_info(torrent.generate())
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    if os.fork() == 0:
        os.close(to_child)  # or it would not see this process end, and would wait for ever
        os.close(from_child)
        seed(info, os.path.dirname(file), transport, to_parent, from_parent)
    os.close(to_parent)
    answers = os.fdopen(from_child)
    port = int(answers.readline())

    s = session(transport)
    woken = wake_on_alerts(s)
    params = lt.add_torrent_params()
    params.ti, params.save_path = info, folder
    handle = s.add_torrent(params)
    before, first, end, again = cpu(), None, time.monotonic() + 600, 0.0
    done = False
    while not done:
        if time.monotonic() > end:
            sys.exit('libtorrent did not carry the file in 600 s')
        if first is None and time.monotonic() > again:
            handle.connect_peer(('127.0.0.1', port))
            again = time.monotonic() + 1
        if select.select([woken], [], [], 0.1)[0]:
            woken.recv(4096)
        for alert in s.pop_alerts():
            if isinstance(alert, lt.piece_finished_alert) and first is None:
                first = time.monotonic()
            if isinstance(alert, lt.torrent_finished_alert):
                done = True
    took, mine = time.monotonic() - first, cpu() - before
    os.write(to_child, b'.')
    theirs = float(answers.readline())
    gib = os.path.getsize(file) / 2 ** 30
    said = json.dumps({'version': lt.__version__, 'transport': transport, 'mib_per_s': gib * 1024 / took,
                       'cpu_s_per_gib': (mine + theirs) / gib, 'cpu_s_per_gib_seeder': theirs / gib,
                       'piece_size': info.piece_length()})
    os.write(1, said.encode())  # in one piece: who reads it closes the pipe behind the last brace
    os._exit(0)  # a session takes seconds to end


main()
