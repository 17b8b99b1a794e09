import sys
from collections import Counter

import pytest

from tests.files.fuzzing import FINE, fuzz
from tests.files.kinds import KINDS

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='bounds memory as Linux does')


def test_no_damaged_file_crashes_hangs_hoards_runs_or_ends_in_an_error_that_does_not_name_it():
    each = 5
    found = list(fuzz('tests.files.kinds', count=each * len(KINDS), seed='quick'))
    assert [case for case in found if case[2] not in FINE] == []
    counts = Counter((kind, outcome) for _, kind, outcome in found)
    assert {kind for kind, _ in counts} == set(KINDS)
    # Otherwise nothing was damaged that is read.
    assert all(counts[kind, 'as it was'] < each for kind in KINDS)


def test_whatever_a_reader_does_wrong_is_found():
    found = {kind: outcome for _, kind, outcome in fuzz('tests.files.misbehaving', 8, 'quick')}
    assert found == {
        'hangs': 'took over 2 seconds',
        'hoards': 'took more memory than it may',
        'crashes': 'died of -6',
        'calls': 'ran os.system',
        'raises': "raw: KeyError: 'a'",
        'is vague': 'unnamed: ValueError: it is damaged',
        'is taken in': 'changed unseen',
        'is well': 'refused',
    }
