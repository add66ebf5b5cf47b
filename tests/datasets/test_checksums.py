import gzip

import numpy as np
from mirrors import idx, idx_arrays

from coursekit.datasets.checksums import verify
from coursekit.datasets.download import fetch


def test_verify_finds_what_is_missing_damaged_or_another(tiny_set):
    entry = tiny_set("good")
    folder = fetch(entry)
    assert all(finding.good for finding in verify(entry))

    images, labels, test_images, _ = (folder / file.name for file in entry.files)
    images.write_bytes(gzip.compress(idx(idx_arrays()[0] + np.uint8(1))))  # well-formed, other pixels
    labels.write_bytes(b"<html>")
    test_images.unlink()
    findings = {finding.file: finding for finding in verify(entry)}
    assert [finding.good for finding in findings.values()] == [False, False, False, True]
    assert "expected the sha256 " in findings[images.name].message
    assert "expected an IDX file" in findings[labels.name].message
    assert findings[test_images.name].message == "missing"


def test_verify_says_where_it_has_no_checksum_to_compare(tiny_set, server):
    entry = tiny_set("good", checksum="md5")
    folder = fetch(entry)
    name = entry.files[0].name
    (folder / name).unlink()
    (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(server.files[name]))
    first, *others = verify(entry)
    assert first.good
    assert "no checksum is known" in first.message
    assert {finding.message for finding in others} == {"checksum right"}
