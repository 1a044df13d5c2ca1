#!/usr/bin/env python3
"""What the leak lab looks for is found: every form, in a file and in the memory of a process,
wherever it stands in it, and nothing where there is nothing."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import search  # noqa: E402

IDS = bytes((37 * i + 11) % 251 for i in range(32))
# It keeps what each line of hex says, every octet turned over, half before and half behind the
# end of a piece and zeros around it, and nowhere else; and says how many there are.
KEEPER = """
import mmap, sys, time
pieces = []
for line in sys.stdin:
    turned = bytes.fromhex(line)
    kept = mmap.mmap(-1, 3 * %d)
    for i, octet in enumerate(turned):
        kept[%d - len(turned) // 2 + i] = 255 - octet
    pieces.append(kept)
print(len(pieces), flush=True)
time.sleep(600)
""" % (search.PIECE, search.PIECE)


def turned(form):
    return bytes(255 - octet for octet in form)


def forms_of(six):
    addresses = ["2a99:1::9", "2a99:2::9"] if six else ["45.1.2.3", "45.77.2.3"]
    forms = search.of_content(IDS, b"culvert-lab-mark")
    for name, address in zip(("viewer", "seeder"), addresses):
        forms.update(search.of_address(name, address, [7000, 40123]))
        forms.update(search.of_endpoint(name, address, 41234))
    return forms


def as_kept(label, form):
    return form + (bytes([1, 2, 4, 0]) if "in a struct" in label else b"")


class Search(unittest.TestCase):
    def in_memory(self, kept, forms):
        with subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            try:
                process.stdin.write("\n".join(turned(form).hex() for form in kept).encode())
                process.stdin.close()
                self.assertEqual(int(process.stdout.readline()), len(kept))
                return search.in_memory(process.pid, forms)
            finally:
                process.kill()

    def test_every_form_is_found(self):
        for six in (False, True):
            forms = forms_of(six)
            labels, octets = self.in_memory([as_kept(*row) for row in forms.items()], forms)
            self.assertEqual(set(forms) - labels, set())
            self.assertGreater(octets, len(forms) * search.PIECE)
            for label, form in forms.items():
                self.assertLess(len(as_kept(label, form)), search.OVERLAP)
                with tempfile.TemporaryDirectory() as folder:
                    place = pathlib.Path(folder) / "planted"
                    place.write_bytes(os.urandom(999) + as_kept(label, form) + b"end")
                    self.assertIn(label, search.in_files([folder], forms).get("planted", ()))

    def test_nothing_is_found_where_nothing_is(self):
        for six in (False, True):
            forms = forms_of(six)
            self.assertEqual(self.in_memory([form[::-1] for form in forms.values()], forms)[0],
                             set())


if __name__ == "__main__":
    unittest.main()
