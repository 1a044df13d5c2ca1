#!/usr/bin/env python3
"""What a claim of the leak lab may say is known before it says it: the lab plants a leak for each
reason, and a reason that is not listed would have none."""
import pathlib
import sys
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import claims  # noqa: E402
from claims import words  # noqa: E402


def says_three_things(world, captures):
    bad = [words(world, p, f"of {p.source} I know") for p in captures]
    for p in captures:
        bad.append(words(world, p, "it is there"))
        bad.append(f"{p.source}: too many")
    return bad


def says_one_thing_twice(world, captures):
    return [words(world, p, "it is there") for p in captures] + \
        [words(world, p, "it is there") for p in captures]


def says_the_end_of_another(world, captures):
    return [words(world, p, "it is there") for p in captures] + [words(world, p, "there") for p in captures]


def says_what_nobody_knows(world, captures):
    return [words(world, p, f"holds {p.payload}") for p in captures]


def says_nothing(_world, _captures):
    return []


class Kinds(unittest.TestCase):
    def test_what_is_sealed_is_no_dht_message_by_chance(self):
        for octets, kind in ((b"d" + bytes(claims.OVERLAY - 2) + b"e", claims.is_overlay),
                             (b"d1:t1:x1:y1:re", claims.is_dht)):
            p = types.SimpleNamespace(kind="udp", payload=octets)
            self.assertEqual([found for found in (claims.is_overlay, claims.is_dht) if found(p)], [kind])


class Reasons(unittest.TestCase):
    def test_all_that_a_claim_may_say(self):
        self.assertEqual(set(claims.reasons(says_three_things)), {" I know", "it is there", ": too many"})

    def test_what_cannot_be_told_apart_or_known(self):
        for claim in (says_one_thing_twice, says_the_end_of_another, says_what_nobody_knows, says_nothing):
            with self.subTest(claim.__name__), self.assertRaises(TypeError):
                claims.reasons(claim)

    def test_every_claim_has_reasons(self):
        every = claims.CLAIMS + claims.RESEEDING_CLAIMS + claims.COUNTED_CLAIMS + claims.PACED_CLAIMS + \
            claims.EXIT_CLAIMS
        for claim in every:
            with self.subTest(claim.__name__):
                self.assertTrue(claims.reasons(claim))


if __name__ == "__main__":
    unittest.main()
