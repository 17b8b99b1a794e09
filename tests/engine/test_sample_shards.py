import numpy as np
import pytest
import torch
from mmagic.structures import DataSample

from mmagic_adm.engine import SampleShards, Shard
from tests.evaluation.tiny import blocky_images

IMAGES = blocky_images(12)
MADE_FROM = dict(model=dict(type='ADM', unet=dict(width=32)), weights='abc')


def shard_of(indices, labels=True):
    indices = np.array(indices)
    return Shard(IMAGES[indices], indices, indices + 100, indices % 10 if labels else None)


@pytest.fixture
def shards(tmp_path):
    shards = SampleShards(tmp_path / 'samples')
    shards.claim(MADE_FROM, resume=False)
    return shards


def assert_equal(shard, expected):
    for name in ('images', 'indices', 'seeds', 'labels'):
        np.testing.assert_array_equal(getattr(shard, name), getattr(expected, name))


@pytest.mark.parametrize('labels', [True, False])
def test_what_is_written_is_read_back(labels, shards):
    shard = shard_of([1, 3, 5], labels)
    file = shards.write(shard)
    assert shards.files() == [file]
    assert_equal(shards.read(file), shard)


def test_a_shard_is_a_sample_batch_of_the_family(shards):
    with np.load(shards.write(shard_of([1, 3]))) as arrays:
        np.testing.assert_array_equal(arrays['arr_0'], IMAGES[[1, 3]])
        np.testing.assert_array_equal(arrays['arr_1'], [1, 3])


@pytest.mark.parametrize('channel_order', ['rgb', 'bgr'])
def test_a_models_samples_are_kept_in_rgb_and_given_back(channel_order):
    samples = []
    for i in (4, 6):
        image = torch.from_numpy(IMAGES[i]).permute(2, 0, 1)
        sample = DataSample(fake_img=image.flip(0) if channel_order == 'bgr' else image)
        sample.set_gt_label(i)
        sample.set_metainfo(dict(index=i, seed=i + 100, channel_order=channel_order))
        samples.append(sample)

    shard = Shard.of(samples)
    assert_equal(shard, shard_of([4, 6]))
    for i, sample in zip((4, 6), shard.data_samples(), strict=True):
        assert torch.equal(sample.fake_img, torch.from_numpy(IMAGES[i]).permute(2, 0, 1))
        assert (sample.index, sample.seed, sample.channel_order) == (i, i + 100, 'rgb')
        assert sample.gt_label.label.tolist() == [i]


def test_samples_without_classes_have_no_labels():
    sample = DataSample(fake_img=torch.from_numpy(IMAGES[0]).permute(2, 0, 1))
    sample.set_metainfo(dict(index=0, seed=100))
    shard = Shard.of([sample])
    assert shard.labels is None
    assert 'gt_label' not in shard.data_samples()[0]


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


def rewrite_with_another_image(file):
    with np.load(file) as arrays:
        arrays = dict(arrays)
    arrays['arr_0'] = arrays['arr_0'][::-1]
    np.savez(file, **arrays)


def in_the_directory(offset, value):
    """Writes another number into what the archive says of its last member."""

    def damage(file):
        data = bytearray(file.read_bytes())
        data[data.rindex(b'PK\x01\x02') + offset] = value
        file.write_bytes(data)

    return damage


@pytest.mark.parametrize(
    'damage',
    [
        flip_a_bit,
        in_the_directory(8, 1),  # encrypted
        in_the_directory(10, 99),  # compressed in an unknown way
        in_the_directory(45, 255),  # beyond the end
        lambda file: np.savez(file, arr_0=np.zeros(3), index=np.array([{}])),
        rewrite_with_another_image,
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(b''),
        lambda file: np.savez(file, other=np.zeros(3)),
    ],
)
def test_a_damaged_shard_is_put_aside_and_the_others_stay(damage, shards):
    sound = shards.write(shard_of([0, 1]))
    damaged = shards.write(shard_of([2, 3]))
    damage(damaged)
    assert shards.read(damaged) is None
    assert shards.files() == [sound]
    assert damaged.with_suffix('.damaged').is_file()
    assert_equal(shards.read(sound), shard_of([0, 1]))


def test_a_part_of_a_shard_may_be_wanted():
    assert_equal(shard_of([1, 4, 7, 9]).within(4, 9), shard_of([4, 7]))


def test_shards_are_assembled_in_the_order_of_the_samples(shards, tmp_path):
    for indices in ([0, 2, 4], [1, 3, 5], [11, 7, 9], [6, 10, 8]):
        shards.write(shard_of(indices))
    file = shards.assemble(tmp_path, 0, 12)
    assert file == tmp_path / 'samples_12x8x8x3.npz'
    with np.load(file) as arrays:
        np.testing.assert_array_equal(arrays['arr_0'], IMAGES)
        np.testing.assert_array_equal(arrays['arr_1'], np.arange(12) % 10)
        assert arrays.files == ['arr_0', 'arr_1']


def test_some_of_the_samples_go_to_a_file_of_their_own(shards, tmp_path):
    shards.write(shard_of([3, 5, 7], labels=False))
    shards.write(shard_of([4, 6], labels=False))
    file = shards.assemble(tmp_path, 4, 3)
    assert file == tmp_path / 'samples_3x8x8x3_from4.npz'
    with np.load(file) as arrays:
        np.testing.assert_array_equal(arrays['arr_0'], IMAGES[4:7])
        assert arrays.files == ['arr_0']


def test_nothing_is_assembled_of_too_little(shards, tmp_path):
    shards.write(shard_of([0, 1, 3]))
    with pytest.raises(ValueError, match='2 of 5 samples are missing'):
        shards.assemble(tmp_path, 0, 5)
    assert [path.name for path in tmp_path.iterdir()] == ['samples']
    assert not list(shards.folder.glob('.*'))


def test_a_run_goes_on_with_its_own_samples(shards):
    file = shards.write(shard_of([0, 1]))
    shards.claim(MADE_FROM, resume=True)
    assert shards.files() == [file]


def test_samples_are_not_overwritten_unasked(shards):
    shards.write(shard_of([0, 1]))
    with pytest.raises(ValueError, match=r'holds 1 batches .* of an earlier run; .*--resume'):
        shards.claim(MADE_FROM, resume=False)


@pytest.mark.parametrize('resume', [True, False])
def test_another_runs_folder_is_refused_and_left_as_it_is(resume, shards):
    file = shards.write(shard_of([0, 1]))
    before = (shards.folder / 'run.json').read_text()
    other = dict(MADE_FROM, model=dict(type='ADM', unet=dict(width=64)))
    with pytest.raises(ValueError, match=r'another run \(model\.unet\.width: 32 there, 64 now\)'):
        shards.claim(other, resume)
    assert shards.files() == [file]
    assert (shards.folder / 'run.json').read_text() == before


def test_a_folder_that_says_nothing_of_its_samples_is_refused(shards):
    shards.write(shard_of([0, 1]))
    (shards.folder / 'run.json').unlink()
    with pytest.raises(ValueError, match=r'no run\.json'):
        shards.claim(MADE_FROM, resume=True)


def test_tuples_and_lists_in_a_config_are_one(tmp_path):
    shards = SampleShards(tmp_path / 'samples')
    shards.claim(dict(sizes=(1, 2)), resume=False)
    shards.claim(dict(sizes=[1, 2]), resume=False)
    with pytest.raises(ValueError, match='sizes'):
        shards.claim(dict(sizes=[1, 3]), resume=False)
