"""The fuzz runs, prints what fails so that it can be run again, and a planted fault is found."""

import fuzz
import pytest
import scipy.sparse as sp

import sparsetconv as stc


def test_runs(capsys):
    assert fuzz.main(["--count", "2", "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert "seeds from 7 on" in printed
    assert all(f"\n{kind} " in printed for kind in fuzz.KINDS)


@pytest.mark.parametrize("fault", ["value", "pattern"])
def test_finds_a_planted_fault(monkeypatch, capsys, fault):
    right = stc.conv_matrix

    def wrong(*args, **kwargs):
        matrix = right(*args, **kwargs)
        if fault == "value":
            matrix.data[:1] += 1
            return matrix
        return sp.csr_array(matrix.toarray())

    monkeypatch.setattr(stc, "conv_matrix", wrong)
    found = fuzz.main(["--kind", "matrix", "--count", "30", "--seed", "1"])
    assert found
    assert capsys.readouterr().out.count("FAILED  --kind matrix --seed") == found
