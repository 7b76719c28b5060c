"""A change of the catalogue and its count are one transaction."""

import pytest
from django.db.models.signals import post_save

from usage import price_book
from usage.models import Unit


@pytest.mark.django_db(transaction=True)
def test_a_row_that_could_not_be_counted_is_not_saved() -> None:
    def fails(**_: object) -> None:
        raise RuntimeError("the process dies here")

    post_save.connect(fails, sender=Unit)
    try:
        with pytest.raises(RuntimeError):
            Unit.objects.create(slug="parsecs", name="Parsecs")
    finally:
        post_save.disconnect(fails, sender=Unit)

    assert not Unit.objects.filter(slug="parsecs").exists()


@pytest.mark.django_db
def test_every_saved_and_deleted_row_moves_the_version() -> None:
    before = price_book.stored_version()
    unit = Unit.objects.create(slug="parsecs", name="Parsecs")
    after_save = price_book.stored_version()
    Unit.objects.filter(pk=unit.pk).delete()

    assert before < after_save < price_book.stored_version()
