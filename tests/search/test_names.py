import pytest

from rlnas_core.search.names import ArchitectureName


@pytest.mark.parametrize(
    ("name", "parsed", "title"),
    [
        ("random-3-600", ArchitectureName(3, 600), "this run, random within 600M"),
        (
            "cifar10-10-2-600",
            ArchitectureName(2, 600, "cifar10", 10),
            "this run, cifar10 within 600M, evolution",
        ),
        (
            "imagenet-1000-0-none-scaled",
            ArchitectureName(0, None, "imagenet", 1000, True),
            "this run, imagenet, evolution, scaled within 600M",
        ),
        (
            "cifar10-10-0-600-A",
            ArchitectureName(0, 600, "cifar10", 10, method="A"),
            "this run, cifar10 within 600M, SPOS by evolution",
        ),
        (
            "cifar10-10-0-none-scaled-B",
            ArchitectureName(0, None, "cifar10", 10, True, "B"),
            "this run, cifar10, angle with true labels by evolution, scaled within 600M",
        ),
    ],
)
def test_names_of_found_and_random_architectures_are_read_and_written(name, parsed, title):
    assert ArchitectureName.parse(name) == parsed
    assert str(parsed) == name
    assert parsed.title() == title


@pytest.mark.parametrize("name", ["RLNAS-cifar10", "random-600", "cifar10-10-0-600M", ""])
def test_other_names_are_not_of_a_run(name):
    assert ArchitectureName.parse(name) is None
