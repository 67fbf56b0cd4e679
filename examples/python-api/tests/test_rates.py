from app.rates import quote


def test_every_started_kilogram_costs():
    assert quote("local", 1) == 469
    assert quote("local", 1001) == 589
