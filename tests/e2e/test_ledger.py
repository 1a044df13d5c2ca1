#!/usr/bin/env python3
"""The ledger's file under a relay: one that was closed is checked beside its use, and what
that finds stops the ledger, is told, and refuses the next start until it is mended."""
import hashlib
import json
import os
import subprocess

import programs
from test_identity import NETWORK, Signer, chain_of

PAGE = 4096
NET = ["--network", "e2e", "--json"]


class Ledger(programs.Case):
    def setUp(self):
        super().setUp()
        self.us = Signer(os.urandom(32))
        self.state = self.folder / "relay"
        self.state.mkdir(mode=0o700)
        (self.state / "identity").write_bytes(self.us.seed)
        (self.state / "identity").chmod(0o600)
        self.db = self.state / "ledger.db"
        self.records = chain_of(self.us, Signer(os.urandom(32)), 200)
        lines = [{"culvert_ledger": 1, "network": NETWORK.hex(), "identity": self.us.key.hex()}]
        lines += [{"record": r.hex()} for r in self.records]
        path = self.folder / "all.ndjson"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        subprocess.run([programs.LEDGER, "--db", str(self.db), "import", "--ndjson", str(path)],
                       check=True, capture_output=True)

    def relay(self):
        return self.start("relay", "--state", str(self.state), "--listen", "127.79.0.1:0", *NET)

    def verified(self):
        return subprocess.run([programs.LEDGER, "--db", str(self.db), "verify"], check=False,
                              capture_output=True).returncode

    def test_a_sound_file_is_used_again_and_again(self):
        for _ in range(3):
            relay = self.relay()
            relay.wait_for("listening")
            status, err = relay.end()
            self.assertEqual((status, err), (0, ""))
            self.assertNotIn("ledger_damaged", [e.get("event") for e in relay.events])
            self.assertEqual(self.verified(), 0)
        self.running.clear()

    def test_damage_is_found_beside_the_use(self):
        # A leaf of the half-blocks in the middle, which nothing reads at the start.
        octets = bytearray(self.db.read_bytes())
        at = octets.index(self.records[100][168:232]) // PAGE * PAGE
        octets[at:at + 64] = hashlib.blake2b(b"damage").digest()
        self.db.write_bytes(octets)
        relay = self.relay()
        relay.wait_for("listening")
        self.assertIn(f"{self.db}: ", relay.wait_for("ledger_damaged")["text"])
        status, err = relay.end()
        self.assertEqual(status, 0, err)
        # From now on before its use.
        status, _, err = programs.run("relay", "--state", str(self.state), "--listen",
                                      "127.79.0.1:0", *NET)
        self.assertEqual(status, 3)
        self.assertIn("damaged", err)
        self.assertIn("restore a backup or move it away", err)
        self.db.unlink()
        relay = self.relay()
        relay.wait_for("listening")


if __name__ == "__main__":
    programs.alone()
    programs.main()
