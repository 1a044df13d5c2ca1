#!/usr/bin/env python3
"""An identity in a file and back: what is sealed, what is refused and why, and that no
way of restoring it leaves two that sign for one key. The chains come from a second
implementation of the record format."""
import hashlib
import json
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import time

import programs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NETWORK = hashlib.blake2b(b"e2e", digest_size=8).digest()
EPOCH = int(time.time()) // 604800 - 3
NET = ["--network", "e2e", "--json"]


class Signer:
    def __init__(self, seed):
        self.seed = seed
        self.secret = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def record(self, peer, seq, prev, octets, answer=None):
        kind, answered, digest_of = (2, *answer) if answer else (1, 0, bytes(32))
        body = struct.pack("<BB32sQ32sQ32s32sQQIH", 1, kind, self.key, seq, peer.key, answered,
                           digest_of, prev, octets, octets, EPOCH, 0)
        return body + self.secret.sign(b"culvert record 1" + NETWORK + body)


def digest(record):
    return hashlib.blake2b(record, digest_size=32).digest()


def chain_of(us, peer, length):
    """`length` half-blocks of ours with their answers."""
    records, ours, theirs = [], bytes(32), bytes(32)
    for seq in range(1, length + 1):
        one = us.record(peer, seq, ours, seq << 30)
        two = peer.record(us, seq, theirs, seq << 30, answer=(seq, digest(one)))
        records += [one, two]
        ours, theirs = digest(one), digest(two)
    return records


class Identity(programs.Case):
    def setUp(self):
        super().setUp()
        self.us, self.peer = Signer(os.urandom(32)), Signer(os.urandom(32))
        self.passphrase = self.folder / "passphrase"
        self.passphrase.write_text("correct horse\n")
        self.passphrase.chmod(0o600)

    def ledger(self, db, *args):
        done = subprocess.run([programs.LEDGER, "--db", str(db), *args], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def state(self, name, length=None, key=True):
        """A state folder with a key, and a ledger of `length` half-blocks of ours."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if key:
            (folder / "identity").write_bytes(self.us.seed)
            (folder / "identity").chmod(0o600)
        if length is not None:
            lines = [{"culvert_ledger": 1, "network": NETWORK.hex(), "identity": self.us.key.hex()}]
            lines += [{"record": r.hex()} for r in chain_of(self.us, self.peer, length)]
            path = self.folder / (name + ".ndjson")
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            self.ledger(folder / "ledger.db", "import", "--ndjson", str(path))
        return folder

    def identity(self, folder, *args, passphrase=None, env=None):
        return programs.run("identity", *args, *NET, "--state", str(folder), "--passphrase-file",
                            str(passphrase or self.passphrase), env=env)

    def works(self, folder, *args):
        status, out, err = self.identity(folder, *args)
        self.assertEqual((status, err), (0, ""), args)
        return json.loads(out)

    def refused(self, want, words, folder, *args, **more):
        status, out, err = self.identity(folder, *args, **more)
        self.assertEqual((status, out), (want, ""), err)
        self.assertTrue(err.startswith("culvert: ") and err.count("\n") == 1, err)
        self.assertIn(words, err)

    def runs(self, folder, key):
        """A relay starts on it, under this key."""
        relay = self.start("relay", "--state", str(folder), "--listen", "127.77.0.1:0", *NET)
        relay.wait_for("listening")
        self.refused(3, "in use by process", folder, "export", str(self.folder / "running"))
        relay.end()
        self.assertEqual(self.key_of(folder), key)

    def key_of(self, folder):
        return Signer((folder / "identity").read_bytes()).key.hex()

    def test_a_copy_goes_on_under_a_new_key(self):
        here, file = self.state("here", 3), self.folder / "copy"
        told = self.works(here, "export", str(file))
        self.assertEqual((told["event"], told["identity"], told["half_blocks"]),
                         ("copied", self.us.key.hex(), 3))
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        sealed = file.read_bytes()
        for secret in (self.us.seed, self.us.key, self.peer.key):
            self.assertNotIn(secret, sealed)
        self.refused(5, "is there already", here, "export", str(file))
        self.assertEqual(file.read_bytes(), sealed)

        # Where it must not go.
        self.refused(3, "this identity is here already", here, "import", str(file))
        other = self.folder / "other"
        other.mkdir(mode=0o700)
        (other / "identity").write_bytes(os.urandom(32))
        (other / "identity").chmod(0o600)
        self.refused(3, "holds another identity", other, "import", str(file))
        newer = self.state("newer", 4, key=False)
        before = self.ledger(newer / "ledger.db", "export")
        self.refused(3, "a newer chain is here: it ends with half-block 4, the file with 3", newer,
                     "import", str(file))
        self.assertEqual(self.ledger(newer / "ledger.db", "export"), before)
        self.assertFalse((newer / "identity").exists())

        # Where it must: an empty folder.
        there = self.folder / "there"
        told = self.works(there, "import", str(file))
        heir = self.key_of(there)
        self.assertEqual((told["event"], told["identity"]), ("renewed", heir))
        self.assertNotEqual(heir, self.us.key.hex())
        self.assertEqual(stat.S_IMODE((there / "identity").stat().st_mode), 0o600)
        show = json.loads(self.ledger(there / "ledger.db", "--json", "show", self.us.key.hex()))
        self.assertEqual([s["id"] for s in show["successor"]], [heir])
        self.assertGreater(show["successor"][0]["epoch"], EPOCH)
        stats = json.loads(self.ledger(there / "ledger.db", "--json", "stats"))
        self.assertEqual((stats["identity"], stats["half_blocks"], stats["successions"]), (heir, 7, 1))
        self.ledger(there / "ledger.db", "verify", "--deep")
        self.assertNotIn(self.us.seed, b"".join(p.read_bytes() for p in there.iterdir() if p.is_file()))
        self.runs(there, heir)
        self.refused(3, "holds another identity", there, "import", str(file))

    def test_what_is_moved_goes_on_where_it_was_moved_to(self):
        here, there, file = self.state("here", 2), self.folder / "there", self.folder / "move"
        told = self.works(here, "export", "--move", str(file))
        self.assertEqual((told["event"], told["half_blocks"]), ("moved", 2))
        status, _, err = programs.run("node", "--state", str(here), "--listen", "127.0.0.1:0", *NET)
        self.assertEqual(status, 3)
        self.assertIn("its identity was moved elsewhere", err)
        self.refused(3, "its identity was moved elsewhere", here, "export", str(self.folder / "x"))
        self.refused(3, "its identity was moved elsewhere", here, "renew")

        told = self.works(there, "import", str(file))
        self.assertEqual((told["event"], told["identity"], told["half_blocks"]),
                         ("imported", self.us.key.hex(), 2))
        self.assertEqual(self.ledger(there / "ledger.db", "export"),
                         self.ledger(here / "ledger.db", "export"))
        self.runs(there, self.us.key.hex())
        self.refused(3, "this identity is here already", there, "import", str(file))

        # It is in use there: what left here does not go on here as well.
        self.refused(3, "was moved from here with this file or a later one", here, "import", str(file))
        self.assertTrue((here / "moved").exists())

        # And back, with what was signed there meanwhile.
        self.state("longer", 5)
        self.ledger(there / "ledger.db", "import", "--ndjson", str(self.folder / "longer.ndjson"))
        back = self.folder / "back"
        self.works(there, "export", "--move", str(back))
        self.works(here, "import", str(back))
        self.assertEqual(self.ledger(here / "ledger.db", "export"),
                         self.ledger(there / "ledger.db", "export"))
        self.runs(here, self.us.key.hex())

        # Old files stay what they are, also where the chain did not go on between them.
        on, off = self.folder / "on", self.folder / "off"
        self.works(here, "export", "--move", str(on))
        for folder, old in ((here, file), (here, back), (here, on), (there, file), (there, back)):
            self.refused(3, "was moved from here with this file or a later one", folder, "import",
                         str(old))
        self.works(there, "import", str(on))
        self.works(there, "export", "--move", str(off))
        self.assertEqual(self.works(here, "import", str(off))["half_blocks"], 5)
        (here / "moves").write_text("some\n")
        self.refused(3, "moves: damaged", here, "export", "--move", str(self.folder / "never"))
        self.assertFalse((self.folder / "never").exists())
        self.assertFalse((here / "moving").exists())

    def ring(self, folder):
        """Of its `descriptor`: the last day that is not signed (again), the days signed."""
        octets = (folder / "descriptor").read_bytes()
        over, n = struct.unpack_from("<IB", octets, 33)
        days, at = [], 38
        for _ in range(n):
            day, length = struct.unpack_from("<I32xH", octets, at)
            days.append(day)
            at += 38 + length
        return over, days

    def ring_of_relay(self, folder, env=None):
        """What a relay that starts on it keeps."""
        file = folder / "descriptor"
        before = file.read_bytes() if file.exists() else None
        relay = self.start("relay", "--state", str(folder), "--listen", "127.77.0.1:0", *NET, env=env)
        relay.wait_for("listening")
        until = time.monotonic() + programs.SECONDS
        while not file.exists() or file.read_bytes() == before:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        self.assertEqual(relay.end()[0], 0)
        return self.ring(folder)

    def test_what_is_moved_signs_no_day_twice(self):
        here, there, file = self.state("here", 2), self.folder / "there", self.folder / "move"
        _, signed = self.ring_of_relay(here)
        self.assertNotEqual(signed, [])
        self.works(here, "export", "--move", str(file))
        self.refused(3, "was written on a later day than the clock says", there, "import", str(file),
                     env=programs.days_off(-1))
        self.assertFalse((there / "identity").exists())
        self.works(there, "import", str(file))
        # The ring stayed behind. Which days it signed is asked of a clock that has been right for ten
        # minutes, and nothing is signed until the day after (src/tunnel/tests/test_keyring_states.c).
        for days in (0, 2):
            before = (there / "descriptor").read_bytes()
            relay = self.start("relay", "--state", str(there), "--listen", "127.77.0.1:0", *NET,
                               env=programs.days_off(days))
            said = relay.wait_for("state_anew")
            self.assertEqual(said["file"], "descriptor")
            self.assertIn("takes no new circuits until", said["text"])
            relay.wait_for("listening")
            time.sleep(1)
            self.assertEqual(relay.end()[0], 0)
            self.assertEqual((there / "descriptor").read_bytes(), before)

    def test_a_copy_closes_no_key_in_the_past(self):
        """By a clock that is behind, of an epoch that the old key may have signed after all."""
        here, there, file = self.state("here", 2), self.folder / "there", self.folder / "copy"
        self.works(here, "export", str(file))
        self.refused(3, "was written on a later day than the clock says", there, "import", str(file),
                     env=programs.days_off(-8))
        self.assertEqual({p.name for p in there.iterdir()} - {"lock"}, set())
        self.assertEqual(self.works(there, "import", str(file))["event"], "renewed")

    def test_one_move_makes_one_file(self):
        here, file = self.state("here", 2), self.folder / "move"
        self.works(here, "export", "--move", str(file))
        self.refused(3, "its identity was moved elsewhere", here, "export", "--move",
                     str(self.folder / "second"))
        self.assertFalse((self.folder / "second").exists())

        # A file that could not be written moved nothing.
        full = self.state("full", 2)
        self.refused(5, "No such file", full, "export", "--move", str(self.folder / "no" / "file"))
        self.runs(full, self.us.key.hex())

        # Interrupted before the file was there: no node runs, and it is given again.
        torn = self.state("torn", 2)
        other = self.folder / "file"
        self.works(torn, "export", "--move", str(other))
        sealed = other.read_bytes()
        (torn / "moved").unlink()
        (torn / "moving").write_bytes(sealed)
        (torn / "moving").chmod(0o600)
        status, _, err = programs.run("relay", "--state", str(torn), "--listen", "127.78.0.1:0", *NET)
        self.assertEqual(status, 3)
        self.assertIn("moving its identity elsewhere was interrupted", err)
        self.refused(3, "was interrupted", torn, "export", str(self.folder / "copy"))
        self.refused(3, "was interrupted", torn, "renew")
        wrong = self.folder / "wrong"
        wrong.write_text("wrong horse\n")
        wrong.chmod(0o600)
        file = self.folder / "again"
        self.refused(1, "another passphrase than the one with which the move began", torn, "export",
                     "--move", str(file), passphrase=wrong)
        self.assertFalse(file.exists())
        self.assertEqual(self.works(torn, "export", "--move", str(file))["event"], "moved")
        self.assertTrue((torn / "moved").exists())
        self.assertFalse((torn / "moving").exists())
        self.refused(3, "its identity was moved elsewhere", torn, "export", "--move",
                     str(self.folder / "third"))

        # Interrupted after it, or in the middle of it: there is one file, whatever its name,
        # and what somebody else wrote stays.
        for written in (sealed, sealed[:100], b""):
            (torn / "moved").rename(torn / "moving")
            (torn / "moving").write_bytes(sealed)
            file.write_bytes(b"somebody's")
            self.refused(5, "is there already", torn, "export", "--move", str(file))
            self.assertEqual(file.read_bytes(), b"somebody's")
            self.assertTrue((torn / "moving").exists())
            file.write_bytes(written)
            self.works(torn, "export", "--move", str(file))
            self.assertEqual(file.read_bytes(), sealed)
            self.assertTrue((torn / "moved").exists())
            self.assertFalse((torn / "moving").exists())
        self.refused(3, "was moved from here with this file or a later one", torn, "import", str(file))

    def test_a_move_that_an_earlier_version_began_goes_on(self):
        here, file = self.state("here", 2), self.folder / "file"
        mark = here / "moving"
        mark.write_text("The identity of this folder was moved elsewhere.\n")
        mark.chmod(0o600)
        file.write_bytes(b"it may have been written")
        self.refused(5, "is there already", here, "export", "--move", str(file))
        self.assertEqual(file.read_bytes(), b"it may have been written")
        self.assertTrue(mark.exists())
        file.unlink()
        self.assertEqual(self.works(here, "export", "--move", str(file))["event"], "moved")
        self.assertTrue((here / "moved").exists())
        self.assertFalse(mark.exists())

    def test_a_restored_folder_is_renewed(self):
        here = self.state("here", 2)
        copy = self.folder / "copy"
        shutil.copytree(here, copy)
        told = self.works(here, "renew")
        heir = self.key_of(here)
        self.assertEqual((told["event"], told["identity"]), ("renewed", heir))
        show = json.loads(self.ledger(here / "ledger.db", "--json", "show", heir))
        self.assertEqual([s["id"] for s in show["successor_of"]], [self.us.key.hex()])
        self.runs(here, heir)

        # Interrupted before and after each of its steps, it is given again.
        ring = b"what the old key signed of the day"
        seed = (here / "identity").read_bytes()
        ledger = (here / "ledger.db").read_bytes()
        for name, files in (("drawn", {"identity-new": seed}),
                            ("signed", {"identity-new": seed, "ledger.db": ledger}),
                            ("in place", {"identity-new": seed, "ledger.db": ledger,
                                          "identity": seed, "descriptor": ring})):
            torn = self.folder / name
            shutil.copytree(copy, torn)
            for file, octets in files.items():
                (torn / file).write_bytes(octets)
                (torn / file).chmod(0o600)
            status, _, err = programs.run("relay", "--state", str(torn), "--listen",
                                          "127.78.0.1:0", *NET)
            self.assertEqual(status, 3, name)
            self.assertIn("a change of its identity was interrupted", err)
            self.works(torn, "renew")
            self.assertEqual(self.key_of(torn), heir, name)
            stats = json.loads(self.ledger(torn / "ledger.db", "--json", "stats"))
            self.assertEqual((stats["identity"], stats["successions"]), (heir, 1), name)
            self.assertEqual({p.name for p in torn.iterdir()} - {"lock"},
                             {"identity", "ledger.db"}, name)

    def test_what_cannot_be_opened_says_why(self):
        here, file = self.state("here"), self.folder / "file"
        self.works(here, "export", str(file))
        there = self.folder / "there"
        wrong = self.folder / "wrong"
        wrong.write_text("wrong horse\n")
        wrong.chmod(0o600)
        self.refused(1, "another passphrase, or the file is damaged", there, "import", str(file),
                     passphrase=wrong)
        self.assertFalse((there / "identity").exists())
        wrong.write_text("short\n")
        self.refused(2, "a passphrase has 8 to 1024 octets", there, "import", str(file),
                     passphrase=wrong)
        wrong.chmod(0o644)
        self.refused(2, "others may read this key", there, "import", str(file), passphrase=wrong)
        noise = self.folder / "noise"
        noise.write_bytes(os.urandom(300))
        noise.chmod(0o600)
        self.refused(5, "not an identity", there, "import", str(noise))
        self.refused(5, "No such file", there, "import", str(self.folder / "nothing"))
        status, _, err = programs.run("identity", "import", str(file), "--state", str(there),
                                      "--passphrase-file", str(self.passphrase))
        self.assertEqual(status, 2)
        self.assertIn("of another network; name it with --network NAME", err)
        self.refused(3, "has no identity yet", there, "export", str(self.folder / "none"))
        for words in (["dance"], ["export"], ["renew", "file"], []):
            status, out, err = programs.run("identity", *words, "--state", str(here))
            self.assertEqual((status, out), (2, ""), words)


if __name__ == "__main__":
    programs.alone()
    programs.main()
