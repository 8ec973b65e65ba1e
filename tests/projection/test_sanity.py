"""Oracle: SciPy's spearmanr, the cascade written out as a loop, and layers by hand."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from internals import BackwardRule, Network
from internals.activations import Unit, strongest
from internals.data import Normalization
from internals.errors import LayerError, ProjectionError
from internals.figures import comparison
from internals.models import LeNet5
from internals.projection import (
    RULES,
    grad_cam,
    gradient_times_input,
    project,
    randomise,
    rank_correlation,
    saliency,
    sanity,
)
from tests.reference.small_classifier import SmallClassifier, photographs

pytestmark = pytest.mark.slow

POSITIVE = BackwardRule(lambda x: None, lambda signal, _: signal.clamp(min=0))
UNITS = [Unit("conv2", 0, 1, 2), Unit("conv2", 4, 0, 0), Unit("conv2", 2, 2, 3)]
INSTRUMENTS = {
    "saliency": partial(saliency, classes=1),
    "gradient x input": partial(gradient_times_input, classes=1),
    "Grad-CAM": partial(grad_cam, layer="conv2", classes=[4, 0, 2], upsample=True),
}


def _untrained() -> SmallClassifier:
    other = SmallClassifier()
    random = torch.Generator().manual_seed(31)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) / 5)
    return other


def test_a_cascade_of_rules_is_the_loop_written_out():
    model, untrained = SmallClassifier(), _untrained()
    control = sanity(model, photographs(), UNITS, untrained=untrained)
    steps = [[], ["conv2"], ["conv2", "conv1"]]
    assert control.names == RULES and control.stages == ("conv2", "conv1")
    for row, rule in enumerate(RULES):
        networks = [randomise(model, untrained, layers) for layers in steps]
        runs = [project(network, photographs(), UNITS, rule) for network in networks]
        for step, run in enumerate(runs):
            expected = rank_correlation(runs[0], run)
            assert control.magnitudes[row, step].mean() == pytest.approx(expected, abs=1e-15)
            expected = rank_correlation(runs[0], run, signed=True)
            assert control.signed[row, step].mean() == pytest.approx(expected, abs=1e-15)
            for image, projection in enumerate(run):
                assert np.array_equal(control.maps[row][step][image], projection.full().numpy())


def test_the_correlations_are_scipys():
    """Over the box of the unit for projections, over the whole image for other pictures."""
    control = sanity(
        SmallClassifier(), photographs(), UNITS, instruments=INSTRUMENTS, untrained=_untrained()
    )
    boxes = [p.box for p in project(SmallClassifier(), photographs(), UNITS, "gradient")]
    assert control.names == (*RULES, *INSTRUMENTS)
    assert control.magnitudes.shape == control.signed.shape == (6, 4, 3)
    for row, steps in enumerate(control.maps):
        for step, pictures in enumerate(steps):
            for image, (top, left, bottom, right) in enumerate(boxes):
                box = ... if row >= 3 else np.s_[:, top:bottom, left:right]
                before, after = steps[0][image][box].ravel(), pictures[image][box].ravel()
                signed, plain = control.signed[row, step, image], spearmanr(before, after)
                assert signed == pytest.approx(plain.statistic, abs=1e-12)
                expected = spearmanr(np.abs(before), np.abs(after)).statistic
                assert control.magnitudes[row, step, image] == pytest.approx(expected, abs=1e-12)
    changed = control.magnitudes[:, -1].mean(axis=1)
    assert (changed < 0.9).all(), "a control that changes nothing would prove nothing"


def _channels_of(convolution, images, places):
    """`places` of a bare convolution: channel, row and column for each image."""
    units = [Unit("0", *place) for place in places]
    return sanity(nn.Sequential(convolution), images, units, ["gradient"])


def test_the_baseline_of_a_bare_convolution_is_that_of_its_kernels():
    """The gradient of a unit is its kernel; at the image's border, the part that lies on it."""
    torch.manual_seed(3)
    convolution = nn.Conv2d(2, 3, 5, padding=2).double()
    kernels = np.abs(convolution.weight.detach().numpy())
    images = torch.randn(3, 2, 9, 9, dtype=torch.float64)
    pairs = [(0, 1), (1, 2), (2, 0)]
    inside = _channels_of(convolution, images, [(0, 4, 4), (1, 3, 5), (2, 6, 2)])
    expected = [spearmanr(kernels[a].ravel(), kernels[b].ravel()).statistic for a, b in pairs]
    assert inside.baseline == pytest.approx([np.mean(expected)], abs=1e-12)
    # The first unit lacks the two upper rows of its field, the last the left column.
    cut = _channels_of(convolution, images, [(0, 0, 4), (1, 4, 4), (2, 4, 1)])
    seen = np.ones((3, 2, 5, 5), bool)
    seen[0, :, :2] = seen[2, :, :, :1] = False
    expected = [
        spearmanr(kernels[a][seen[a] & seen[b]], kernels[b][seen[a] & seen[b]]).statistic
        for a, b in pairs
    ]
    assert cut.baseline == pytest.approx([np.mean(expected)], abs=1e-12)
    assert cut.notes()[0][0] == f"baseline {np.mean(expected):.2f}"


def test_the_baseline_of_an_instrument_is_that_of_its_pictures_of_other_images():
    control = sanity(SmallClassifier(), photographs(), instruments=INSTRUMENTS)
    for row, steps in enumerate(control.maps):
        flat = [np.abs(picture).ravel() for picture in steps[0]]
        pairs = [spearmanr(flat[a], flat[b]).statistic for a, b in [(0, 1), (1, 2), (2, 0)]]
        assert control.baseline[row] == pytest.approx(np.mean(pairs), abs=1e-12)


def test_the_pictures_of_a_network_have_the_baseline_of_what_it_is_fed(digits):
    """Bytes that are normalised a part at a time, as in every chapter."""
    images, model = digits.test.head(3), LeNet5()
    net = Network(model, normalization=Normalization.from_range(-0.1, 1.175))
    units = [Unit("conv2", channel, 3, 4) for channel in range(3)]
    inputs = net.normalization.apply(images.images)
    expected = sanity(model, inputs, units, ["gradient"]).baseline
    np.testing.assert_array_equal(net.sanity(images, units, ["gradient"]).baseline, expected)
    assert 0 < expected[0] < 1


@pytest.mark.parametrize(
    ("units", "numbers"),
    [
        (UNITS[:1], [0]),
        ([Unit("conv2", 1, 0, 0), Unit("conv2", 1, 2, 2)], [0, 1]),  # one channel
        ([Unit("conv2", 1, 1, 1), Unit("conv2", 2, 1, 1)], [2, 2]),  # one image
        ([Unit("conv1", 1, 5, 5), Unit("conv2", 2, 1, 1)], [0, 1]),  # fields of two sizes
    ],
)
def test_there_is_no_baseline_without_another_channel_on_another_image(units, numbers):
    control = sanity(SmallClassifier(), photographs(), units, image_index=numbers)
    assert np.isnan(control.baseline).all() and control.notes()[0][0] == "ρ = 1.00"


@pytest.mark.parametrize("how", ["no layer", "the same weights"])
def test_where_nothing_is_randomised_everything_is_left(how):
    model = SmallClassifier()
    stages = [] if how == "no layer" else None
    control = sanity(
        model,
        photographs(),
        UNITS,
        instruments=INSTRUMENTS,
        stages=stages,
        untrained=copy.deepcopy(model),
    )
    ones = np.ones((6, 1 if how == "no layer" else 4, 3))
    np.testing.assert_allclose(control.magnitudes, ones, rtol=0, atol=1e-14)
    np.testing.assert_allclose(control.signed, ones, rtol=0, atol=1e-14)


def test_the_last_step_is_the_untrained_network():
    control = sanity(
        SmallClassifier(), photographs(), instruments=INSTRUMENTS, untrained=_untrained()
    )
    assert control.stages == ("fc", "conv2", "conv1")
    for row, (name, instrument) in enumerate(INSTRUMENTS.items()):
        expected = instrument(_untrained(), photographs()).numpy()
        found = np.stack(control.maps[row][-1])
        np.testing.assert_array_equal(found.squeeze(), expected.squeeze(), err_msg=name)


def test_layers_draw_their_own_weights_where_no_network_is_given():
    """As `reset_parameters` does from the seed, top layer first; the global generator stays."""
    model, torch_state = SmallClassifier(), torch.get_rng_state()
    control = sanity(model, photographs(), UNITS, ["gradient"], seed=7)
    assert torch.equal(torch.get_rng_state(), torch_state)
    torch.manual_seed(7)
    drawn = copy.deepcopy(model)
    drawn.conv2.reset_parameters()
    drawn.conv1.reset_parameters()
    expected = sanity(model, photographs(), UNITS, ["gradient"], untrained=drawn)
    np.testing.assert_array_equal(control.magnitudes, expected.magnitudes)
    assert control.magnitudes[0, 2].mean() < 0.9
    other = sanity(model, photographs(), UNITS, ["gradient"], seed=8)
    assert (other.magnitudes != control.magnitudes).any()


def test_layers_of_a_stage_forget_together():
    """A stage of two layers is the second of two steps of one; `randomise` says what it is."""
    model, untrained = SmallClassifier(), _untrained()
    options = {"rules": ["guided"], "untrained": untrained}
    stages = {"top": ["fc", "conv2"], "conv1": "conv1"}
    together = sanity(model, photographs(), UNITS, stages=stages, **options)
    apart = sanity(model, photographs(), UNITS, stages=["fc", "conv2", "conv1"], **options)
    assert together.stages == ("top", "conv1")
    assert together.titles == ["trained", "top random", "+ conv1"]
    np.testing.assert_array_equal(together.magnitudes, apart.magnitudes[:, [0, 2, 3]])
    network = randomise(model, untrained, ["fc", "conv2"])
    for picture, expected in zip(
        together.maps[0][1], project(network, photographs(), UNITS, "guided"), strict=True
    ):
        assert np.array_equal(picture, expected.full().numpy())


def test_units_by_channel_are_those_of_the_trained_network():
    """What `strongest` returns, on a set with more images than are looked at, and a name."""
    model, images = SmallClassifier(), photographs()
    top = strongest(model, images, ["conv2"])["conv2"]
    units, numbers = [top.units(c)[0] for c in (1, 3)], top.image[[1, 3], 0]
    expected = sanity(model, images[numbers], units)
    control = sanity(model, images, top[[1, 3]].head(1))
    np.testing.assert_array_equal(control.magnitudes, expected.magnitudes)
    rules = {"guided": {"rules": {"silu": POSITIVE}}}
    named = sanity(model, images, "conv2:3", rules)
    for row, number in enumerate(top.image[3].tolist()):
        [alone] = sanity(model, images[number : number + 1], [top.units(3)[row]], rules).maps[0][1]
        np.testing.assert_array_equal(named.maps[0][1][number], alone)


def test_a_network_is_traced_once_and_its_instruments_are_given_its_score():
    asked = []

    def score(outputs):
        asked.append(len(outputs))
        return -outputs

    net = Network(SmallClassifier(), score=score)
    control = net.sanity(photographs(), instruments={"saliency": partial(saliency, classes=1)})
    expected = saliency(SmallClassifier(), photographs(), 1, score=lambda y: -y)
    np.testing.assert_array_equal(np.stack(control.maps[0][0])[:, 0], expected.numpy())
    assert asked


def test_rules_and_instruments_must_give_as_many_pictures():
    with pytest.raises(ProjectionError, match="rules and instruments give 1 and 3 pictures"):
        sanity(
            SmallClassifier(), photographs(), UNITS[:1], image_index=[2], instruments=INSTRUMENTS
        )


def test_lenet5_with_a_reading_of_tanh_for_each_rule(digits):
    """By default the layers are those up to the unit's own, the last called first."""
    model, units = LeNet5(), [Unit("conv3", 0), Unit("conv3", 7)]
    images = digits.test.images[:2].float() / 255
    rules = {"gradient": None, "deconvnet": "straight", "guided": "agreeing"}
    control = sanity(model, images, units, rules, untrained=LeNet5())
    assert control.stages == ("conv3", "conv2", "conv1")
    assert control.titles == ["trained", "conv3 random", "+ conv2", "+ conv1"]
    for row, (rule, tanh) in enumerate(rules.items()):
        expected = project(model, images, units, rule, tanh=tanh)[1].full().numpy()
        assert np.array_equal(control.pictures(1)[row][0], expected)
    gradient, _, guided = control.magnitudes.mean(axis=2)
    assert guided[0] == pytest.approx(1)
    assert control.notes()[2][0] == f"baseline {control.baseline[2]:.2f}"
    assert control.notes()[0][3] == f"ρ = {gradient[3]:.2f}"


def test_it_is_ready_to_be_drawn():
    control = sanity(SmallClassifier(), photographs(), UNITS, instruments=INSTRUMENTS)
    words = "A caption of at least twelve words, as each picture of this book has to have one."
    drawn = comparison(
        control.pictures(2),
        control.titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption=words,
        alt=words,
    )
    labels = {text.get_text() for text in drawn.figure.texts} | {
        text.get_text() for axes in drawn.figure.axes for text in axes.texts
    }
    notes = {note for row in control.notes() for note in row}
    assert {"trained", "fc random", "+ conv2", "+ conv1", *control.names} <= labels
    assert {note.replace("-", "\N{MINUS SIGN}") for note in notes} <= labels


def test_a_picture_without_contrast_has_no_order():
    flat = {"flat": lambda model, images: torch.zeros(len(images), 4, 4)}
    control = sanity(SmallClassifier(), photographs(), instruments=flat)
    assert not control.magnitudes.any() and not control.signed.any()


def test_an_instrument_of_ones_own_sees_networks_in_evaluation_mode():
    mode = {"mode": lambda model, images: torch.full_like(images, float(model.drop.training))}
    control = sanity(SmallClassifier().train(), photographs(), instruments=mode)
    assert not np.array(control.maps).any()


def test_images_that_the_model_cannot_take():
    with pytest.raises(ProjectionError, match=r"cannot take images of shape \(1, 11, 13\)"):
        sanity(SmallClassifier(), photographs()[:, :1], instruments=INSTRUMENTS)


def test_the_model_is_left_as_it_was():
    model, untrained = SmallClassifier().train(), _untrained()
    before, other = copy.deepcopy(model.state_dict()), copy.deepcopy(untrained.state_dict())
    sanity(model, photographs(), UNITS, instruments=INSTRUMENTS, untrained=untrained)
    sanity(model, photographs(), UNITS)
    for kept, now in ((before, model.state_dict()), (other, untrained.state_dict())):
        for name, weights in kept.items():
            assert torch.equal(now[name], weights), name
    assert model.training and model.drop.training


class _OwnWeights(SmallClassifier):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))


def _without_reset() -> SmallClassifier:
    model = SmallClassifier()
    model.conv1 = nn.Sequential(_NoResetting())
    return model


class _NoResetting(nn.Module):
    """Has weights, and no way to draw them again."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 3, 3, 3, dtype=torch.float64))

    def forward(self, x):
        return torch.conv2d(x, self.weight, padding=1)


def _other_shape() -> SmallClassifier:
    model = SmallClassifier()
    model.conv1 = nn.Conv2d(3, 8, 3)
    return model


@pytest.mark.parametrize(
    ("model", "untrained", "options", "error", "words"),
    [
        (SmallClassifier(), None, {"units": ()}, ProjectionError, "nothing to compare; give units"),
        (SmallClassifier(), None, {"units": UNITS[:2]}, ProjectionError, "2 units for 3 images"),
        (
            SmallClassifier(),
            None,
            {"instruments": {"guided": saliency}},
            ProjectionError,
            "'guided' is a rule already; give the instrument another name",
        ),
        (SmallClassifier(), None, {"rules": "guide"}, ProjectionError, "unknown rule 'guide'"),
        (SmallClassifier(), None, {"stages": ["conv9"]}, LayerError, "no layer 'conv9'"),
        (_OwnWeights(), None, {}, LayerError, "has weights that belong to no layer; name stages="),
        (_without_reset(), None, {}, LayerError, r"'conv1.0' \(_NoResetting\) has no reset_param"),
        (SmallClassifier(), _other_shape(), {}, ProjectionError, "weights of layer 'conv1' are ot"),
        (
            SmallClassifier(),
            None,
            {"units": (), "instruments": {"odd": lambda model, images: images[:2]}},
            ProjectionError,
            r"odd gives pictures of shape \(2, 3, 11, 13\) for 3 images",
        ),
        (
            SmallClassifier(),
            None,
            {"units": (), "instruments": {"odd": lambda model, images: images * torch.nan}},
            ProjectionError,
            "a pixel of odd is nan for 3 images",
        ),
    ],
)
def test_refusals(model, untrained, options, error, words):
    with pytest.raises(error, match=words) as raised:
        sanity(model, photographs(), untrained=untrained, **({"units": UNITS} | options))
    assert "\n" not in str(raised.value)
