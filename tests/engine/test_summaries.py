from mmagic_adm.engine.summaries import table


def test_figures_stand_under_each_other():
    assert table({'FID': 2.0712345, 'Inception Score': 215.837}).splitlines() == [
        'FID                    2.0712',
        'Inception Score      215.8370',
    ]


def test_no_figures_make_no_table():
    assert table({}) == ''
