"""Permission before the work: reservations, and views that ask for it by themselves."""
