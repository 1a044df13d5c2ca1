#!/usr/bin/env python3
"""Who watches both ends finds whom he can, and nobody else: the judge of scripts/bench/correlation."""
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import observer  # noqa: E402

FLOWS, BINS, MIDDLE = 20, 400, 100


def some(dice, most=20):
    return [dice.randrange(most) for _ in range(BINS)]


def late(counts, bins):
    return [0] * bins + counts[:len(counts) - bins]


def network(make, seed=1):
    """make(dice): counts of a viewer and of its seeder."""
    dice, counts = random.Random(seed), observer.Counts(FLOWS)
    counts.viewers, counts.seeders = map(list, zip(*(make(dice) for _ in range(FLOWS))))
    counts.middle = MIDDLE
    return counts


class Observer(unittest.TestCase):
    def judge(self, make):
        return observer.judge([network(make)])

    def test_what_is_given_is_known_when_it_is_received(self):
        for bins in (0, 1, observer.LAGS - 1):
            with self.subTest(bins=bins):
                seen = self.judge(lambda dice: (late(given := some(dice), bins), given))
                self.assertEqual((seen["auc"], seen["found"]), (1, 1))
                self.assertAlmostEqual(seen["pairs"], 1)

    def test_later_than_any_way_or_before_it_was_given_is_nobody(self):
        for make in (lambda dice: (late(given := some(dice), observer.LAGS), given),
                     lambda dice: (received := some(dice), late(received, 1))):
            seen = self.judge(make)
            self.assertAlmostEqual(seen["auc"], 0.5, delta=0.2)
            self.assertLess(seen["found"], 0.3)

    def test_lines_are_held_against_each_other_as_far_as_all_were_watched(self):
        counts = network(lambda dice: (given := some(dice), given))
        for lines, short in ((counts.seeders, 7), (counts.viewers, 9)):
            lines[3] = lines[3][:-short]
            self.assertEqual(counts.bins(), BINS - short)
        self.assertEqual(observer.judge([counts])["auc"], 1)

    def test_strangers_are_a_coin(self):
        seen = self.judge(lambda dice: (some(dice), some(dice)))
        self.assertAlmostEqual(seen["auc"], 0.5, delta=0.2)
        self.assertAlmostEqual(seen["pairs"], seen["others"], delta=0.1)

    def test_noise_hides_little_of_a_flow(self):
        seen = self.judge(lambda dice: (list(map(sum, zip(given := some(dice), some(dice)))), given))
        self.assertGreater(seen["auc"], 0.99)
        self.assertAlmostEqual(seen["pairs"], 0.5 ** 0.5, delta=0.1)

    def test_beginnings_are_told_apart_from_the_middle(self):
        def make(dice):
            begins = dice.randrange(MIDDLE)
            return [0] * begins + [20] * (BINS - begins), [0] * begins + [20] * (BINS - begins)
        seen = self.judge(make)
        self.assertEqual(seen["auc"], 0.5)  # what never changes agrees with nothing
        self.assertEqual((seen["pairs"], seen["others"], seen["found"]), (0, 0, 0))
        self.assertGreater(seen["auc_from_the_beginning"], 0.95)

    def test_pairs_are_found_while_one_in_a_hundred_is_accused(self):
        # Of 20 x 19 others 3 may be accused; a fourth as high as the pairs hides them all.
        for more, found in ((3, 0.5), (4, 0)):
            rows = [[0.1] * FLOWS for _ in range(FLOWS)]
            for i in range(FLOWS // 2):
                rows[i][i] = 0.8
            for i in range(more):
                rows[i][FLOWS - 1] = 0.8
            self.assertEqual(observer.verdict([rows])["found"], found)

    def test_networks_are_one_figure_and_pairs_are_of_one_network(self):
        good, bad = [[0.9, 0.1], [0.1, 0.9]], [[0.2, 0.5], [0.5, 0.2]]
        seen = observer.verdict([good, bad])
        # 0.9 twice above all four others, 0.2 twice above two.
        self.assertEqual(seen["auc"], (2 * 4 + 2 * 2) / 16)
        self.assertEqual(seen["pairs"], 0.55)
        seen = observer.judge([network(lambda dice: (given := some(dice), given)),
                               network(lambda dice: (some(dice), some(dice)), 2)])
        for key in ("pairs", "pairs_from_the_beginning"):  # all of the one, nobody of the other
            self.assertAlmostEqual(seen[key], 0.5, delta=0.1)


if __name__ == "__main__":
    unittest.main()
