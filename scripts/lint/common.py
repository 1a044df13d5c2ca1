"""What the lints share: which files count, and how a finding is reported."""
import os
import re
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
# Fixtures are wrong on purpose; a lint is pointed at one by its argument.
SKIPPED = re.compile(r'(^|/)(\.git|build[^/]*|node_modules|web-packages|__pycache__|tests/lint/fixtures)$')


class Lint:
    """One run over a tree: the argument of the command, or the project."""

    def __init__(self):
        self.root = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ROOT
        self.found = 0

    def files(self, *tops, pattern=r'.*'):
        """Paths below the root, with /, sorted; `tops` are folders in it."""
        name = re.compile(pattern)
        paths = []
        for top in tops or ('',):
            for folder, subfolders, files in os.walk(os.path.join(self.root, top)):
                here = os.path.relpath(folder, self.root).replace(os.sep, '/')
                here = '' if here == '.' else here + '/'
                subfolders[:] = [s for s in subfolders if not SKIPPED.search(here + s)]
                # .git is a file in a linked work tree.
                paths += [here + f for f in files if f != '.git' and name.fullmatch(f)]
        return sorted(set(paths))

    def read(self, path):
        with open(os.path.join(self.root, path), encoding='utf-8', errors='replace') as f:
            return f.read()

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def report(self, path, line, text):
        print(f'{path}:{line}: {text}' if line else f'{path}: {text}')
        self.found += 1

    def done(self):
        sys.exit(1 if self.found else 0)


def code_only(text):
    """C source with comments and the insides of literals blanked, lines kept."""
    def blank(match):
        token = match.group(0)
        if token[0] in '"\'':
            return token[0] * 2 + '\n' * token.count('\n')
        return ' ' + '\n' * token.count('\n')
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)
