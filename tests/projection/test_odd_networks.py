"""Oracle: the network alone on the whole image, differentiated by autograd, with rectifiers that
have the rule written into their backward pass. All else that could mislead a trace is refused.
"""

import copy

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from internals.activations import Unit, strongest
from internals.anatomy import receptive_field
from internals.errors import AnatomyError, InternalsError, LayerError, ProjectionError
from internals.projection import grad_cam, project, saliency
from tests.projection.test_windows import RULES, _Ruled
from tests.reference.odd_parts import COMPANY, IMAGES, SIZES, UNKNOWN, Cut, Part

pytestmark = pytest.mark.slow  # a minute in all

TWO = (0, 1)


def _network(*parts: nn.Module, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), *parts, nn.ReLU(), nn.Conv2d(2, 2, 3)]
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
    return nn.Sequential(*layers).double().eval()


def _images(size=(40, 36), seed=1) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, *size, generator=noise, dtype=torch.float64)
    return images * torch.tensor([1.0, 3.0]).double().view(-1, 1, 1, 1) + 0.1


def _alone(model, image, unit, rule):
    """Value and signal of a unit of the last layer, by the whole image."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, _Ruled({"rule": rule}))
    leaf = image[None].clone().requires_grad_()
    value = model(leaf * 1)[0, unit.channel, unit.row, unit.column]
    return value.item(), torch.autograd.grad(value, leaf)[0][0]


def _check(model, images, unit, rule):
    """The pictures of two images that are asked for together are those of each alone."""
    found = project(model, images, [unit] * len(images), rule)
    for ours, image in zip(found, images, strict=True):
        value, signal = _alone(model, image, unit, rule)
        assert ours.value == pytest.approx(value, rel=1e-9, abs=1e-12)
        torch.testing.assert_close(ours.full(), signal, rtol=1e-9, atol=1e-12)


def _last(model) -> str:
    return str(len(model) - 1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SIZES)
def test_geometry_that_depends_on_the_size(name, rule):
    model = _network(Part(SIZES[name]))
    _check(model, _images(), Unit(_last(model), 1, 5, 11), rule)


@pytest.mark.parametrize("name", SIZES)
def test_units_have_the_values_that_mining_saw(name):
    model, images = _network(Part(SIZES[name])), _images()
    top = strongest(model, images, [_last(model)], 2)[_last(model)]
    found = [projection.value for projection in project(model, images, top)]
    assert found == pytest.approx(top.value.flatten().tolist(), rel=1e-9)


def test_a_table_of_other_weights_costs_time_and_no_truth():
    """Values that mining saw before a training are no reason to believe in a window, nor not to."""
    model, images = _network(nn.Identity()), _images()
    top = strongest(model, images, ["4"], 1)["4"]
    with torch.no_grad():
        model[0].weight.mul_(2)
    for found, unit, number in zip(
        project(model, images, top), top.units(), top.image.flatten().tolist(), strict=True
    ):
        value, signal = _alone(model, images[number], unit, "guided")
        assert found.value == pytest.approx(value, rel=1e-9)
        torch.testing.assert_close(found.full(), signal, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["padded to whole strides", "the lower part"])
def test_a_field_that_depends_on_the_size_is_not_stated(name):
    model = _network(Part(SIZES[name]))
    with pytest.raises(AnatomyError, match="is unclear: the forward pass works out its geometry"):
        receptive_field(model, _last(model), (3, 40, 36))
    assert receptive_field(model, "0", (3, 40, 36)).size == 3


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", IMAGES)
def test_operands_that_come_from_the_image(name, rule):
    function, is_linear = IMAGES[name]
    model = _network(Part(function, is_linear))
    unit = Unit(_last(model), 0, 9, 9)
    if rule == "gradient" or is_linear:
        _check(model, _images(), unit, rule)
    else:
        with pytest.raises(ProjectionError, match=f"{rule} has no rule for"):
            project(model, _images(), [unit] * 2, rule)


@pytest.mark.parametrize("name", IMAGES)
def test_and_the_field_is_the_whole_image_or_not_stated(name):
    model = _network(Part(IMAGES[name][0]))
    try:
        top, left, bottom, right = receptive_field(model, "4", (3, 40, 36)).box(9, 9)
    except AnatomyError as error:
        assert "cannot be stated: it depends on" in str(error)
    else:
        assert top <= 0 and left <= 0 and bottom >= 40 and right >= 36


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", COMPANY)
def test_images_that_influence_each_other_go_alone(name, rule):
    model = _network(Part(COMPANY[name]))
    _check(model, _images(), Unit(_last(model), 1, 7, 8), rule)


@pytest.mark.parametrize("name", COMPANY)
def test_images_that_influence_each_other_are_mined_alone(name):
    model = _network(Part(COMPANY[name]))
    images, layer = _images(), _last(model)
    together = strongest(model, images, [layer], 2)[layer]
    for number in TWO:
        alone = strongest(model, images[number : number + 1], [layer], 1)[layer]
        rank = (together.image == number).nonzero()
        value = together.value[rank[:, 0], rank[:, 1]]
        torch.testing.assert_close(value, alone.value.flatten(), rtol=1e-12, atol=1e-12)


class _Classifier(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.features, self.fc = part, nn.Linear(2, 3).double()

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


@pytest.mark.parametrize("name", COMPANY)
def test_class_scores_of_images_that_influence_each_other(name):
    torch.manual_seed(0)
    model, images = _Classifier(_network(Part(COMPANY[name]))), _images()
    for instrument in (saliency, lambda m, x, c: grad_cam(m, x, "features", c)):
        together = instrument(model, images, [0, 2])
        for number, label in zip(TWO, [0, 2], strict=True):
            alone = instrument(model, images[number : number + 1], [label])[0]
            torch.testing.assert_close(together[number], alone, rtol=1e-9, atol=1e-12)


def test_batch_statistics_and_the_peak_of_a_batch():
    norm = nn.BatchNorm2d(2, track_running_stats=False)
    model = _network(norm)
    for rule in RULES:
        _check(model, _images(), Unit(_last(model), 1, 6, 6), rule)
    peak = _network(Part(lambda part, x: x / x.max(), is_linear=False))
    _check(peak, _images(), Unit(_last(peak), 1, 6, 6), "gradient")
    with pytest.raises(
        ProjectionError, match="guided has no rule for div of two tensors from the image"
    ):
        project(peak, _images(), [Unit(_last(peak), 1, 6, 6)] * 2)


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_to_be_linear_is_refused(name, rule):
    model = _network(Part(lambda part, x: UNKNOWN[name](part.conv(x)), is_linear=False))
    with pytest.raises(ProjectionError, match=f"{rule} has no rule for|no gradient leads") as error:
        project(model, _images(), [Unit(_last(model), 0, 4, 4)] * 2, rule)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in UNKNOWN if name != "gated by what is detached"])
def test_and_has_a_true_derivative(name):
    model = _network(Part(lambda part, x: UNKNOWN[name](part.conv(x)), is_linear=False))
    _check(model, _images(), Unit(_last(model), 0, 4, 4), "gradient")


@pytest.mark.parametrize(
    "rectifier",
    [torch.ops.aten.relu.default, torch.ops.aten.clamp_min.default, torch.ops.aten.relu_.default],
)
def test_torchs_own_operators_by_their_full_names_have_the_rule(rectifier):
    at_zero = rectifier is torch.ops.aten.clamp_min.default
    model = _network(Part(lambda part, x: rectifier(part.conv(x), *[0] * at_zero)))
    plain = copy.deepcopy(model)
    plain[2] = nn.Sequential(copy.deepcopy(model[2].conv), nn.ReLU())
    unit = Unit(_last(model), 1, 6, 7)
    for rule in RULES:
        ours = project(model, _images(), [unit] * 2, rule)
        for found, image in zip(ours, _images(), strict=True):
            torch.testing.assert_close(found.full(), _alone(plain, image, unit, rule)[1])


class _NormAct(nn.BatchNorm2d):
    """A normalisation with its rectifier, as some libraries write them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x))


class _OwnResponseNorm(nn.LocalResponseNorm):
    def forward(self, x):
        total = nn.functional.avg_pool2d(x.square(), 3, 1, 1)
        return nn.functional.relu(x / (self.k + self.alpha * total) ** self.beta)


@pytest.mark.parametrize("rule", RULES)
def test_a_rectifier_inside_of_a_normalisation_has_the_rule(rule):
    model = _network(_NormAct(2))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([2.0, -1.0]))
        model[2].running_mean.fill_(0.3)
    _check(model, _images(), Unit(_last(model), 1, 6, 7), rule)


def test_a_normalisation_that_is_written_out_is_sent_back_through_by_its_derivative():
    model = _network(_OwnResponseNorm(3, alpha=0.5))
    plain = copy.deepcopy(model)
    plain[2] = nn.Sequential(
        Part(lambda part, x: x / (1 + 0.5 * nn.functional.avg_pool2d(x.square(), 3, 1, 1)) ** 0.75),
        nn.ReLU(),
    )
    unit = Unit(_last(model), 1, 6, 7)
    for rule in RULES:
        for found, image in zip(
            project(model, _images(), [unit] * 2, rule), _images(), strict=True
        ):
            torch.testing.assert_close(found.full(), _alone(plain, image, unit, rule)[1])


def test_a_rectifier_under_vmap_is_not_passed_as_gradient():
    model = _network(Part(lambda part, x: torch.vmap(torch.relu)(part.conv(x))))
    unit = Unit(_last(model), 1, 6, 7)
    _check(model, _images(), unit, "gradient")
    for rule in ("guided", "deconvnet"):
        with pytest.raises(ProjectionError, match=r"fails while layer '4' is projected: Runtime"):
            project(model, _images(), [unit] * 2, rule)


@pytest.mark.parametrize("rule", RULES)
def test_an_exported_network_has_the_rules(rule):
    model, images = _network(nn.Identity()).float(), _images().float()
    exported = torch.export.unflatten(torch.export.export(model, (images[:1],)))
    found = project(exported, images[:1], [Unit("4", 0, 5, 5)], rule)[0]
    expected = project(model, images[:1], [Unit("4", 0, 5, 5)], rule)[0]
    torch.testing.assert_close(found.full(), expected.full())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("wrap", "layer"),
    [
        (nn.DataParallel, "module.4"),
        (torch.compile, "_orig_mod.4"),
        (lambda net: torch.compile(nn.DataParallel(net)), "_orig_mod.module.4"),
    ],
    ids=["DataParallel", "compile", "both"],
)
def test_wrapped_networks_are_looked_into_as_what_they_hold(wrap, layer, rule):
    model = _network(nn.Identity())
    wrapped, unit = wrap(model), Unit(layer, 1, 6, 7)
    found = project(wrapped, _images(), [unit] * 2, rule)
    for ours, image in zip(found, _images(), strict=True):
        value, signal = _alone(model, image, unit, rule)
        assert ours.value == pytest.approx(value, rel=1e-9)
        torch.testing.assert_close(ours.full(), signal, rtol=1e-9, atol=1e-12)
    assert strongest(wrapped, _images(), [layer], 1)[layer].value.shape == (2, 1)


def test_what_holds_no_numbers_is_refused():
    model = _network(nn.Identity())
    with torch.no_grad():
        model[4].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(
        ProjectionError, match=r"4\[0, 3, 3\] of image 0 is nan, .*check weights and"
    ):
        project(model, _images()[:1], [Unit("4", 0, 3, 3)])


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    "how", ["no_grad", "detach", "data", "inference_mode", "checkpoint", "given a gradient again"]
)
def test_a_way_on_which_gradients_end_is_refused(how, beside):
    model = _network(Cut(how, beside=beside))
    with pytest.raises(ProjectionError, match=r"no gradient leads|checkpointed") as error:
        project(model, _images(), [Unit(_last(model), 0, 9, 9)] * 2, "gradient")
    assert "\n" not in str(error.value)


def test_what_is_only_looked_at_on_the_side_cuts_nothing():
    def watched(part, x):
        part.peak = x.detach().abs().amax()
        return part.conv(x)

    model = _network(Part(watched))
    _check(model, _images(), Unit(_last(model), 0, 9, 9), "guided")
    assert "peak" not in vars(model[2]), "the user's own module is not touched"


def test_checkpointed_parts_are_run_again_under_the_rules():
    net = torchvision.models.densenet121(memory_efficient=True).eval()
    torch.manual_seed(0)
    image = torch.randn(1, 3, 32, 32)
    unit = Unit("features.denseblock1.denselayer2", 1, 3, 5)
    for module in net.modules():
        if hasattr(module, "memory_efficient"):
            module.memory_efficient = True
    ours = [project(net, image, [unit], rule)[0].full() for rule in RULES]
    for module in net.modules():
        if hasattr(module, "memory_efficient"):
            module.memory_efficient = False
    for rule, found in zip(RULES, ours, strict=True):
        torch.testing.assert_close(found, project(net, image, [unit], rule)[0].full())


class _ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6)
        self.wide, self.mixed, self.head = nn.Linear(6, 5), nn.Identity(), nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.wide(self.norm(self.stem(x).movedim(1, -1)))
        n, h, w, c = x.shape
        # As windows are cut and put together again: no trace of operations knows the axes then.
        x = self.mixed(x.view(n, h // 2, 2, w // 2, 2, c).flip(2).reshape(n, h, w, c))
        return self.head(x.permute(0, 3, 1, 2))


@pytest.mark.parametrize("layer", ["norm", "wide", "mixed"])
@pytest.mark.parametrize("size", [(40, 40), (40, 24)])
def test_channels_that_do_not_come_second_are_refused(layer, size):
    model, image = _ChannelsLast(), torch.randn(1, 3, *size)
    for look in (
        lambda: project(model, image, [Unit(layer, 1, 2, 2)], "gradient"),
        lambda: strongest(model, image, [layer]),
        lambda: grad_cam(model, image, layer, 0, score=lambda y: y.mean((2, 3))),
        lambda: receptive_field(model, layer, image.shape[1:]),
    ):
        with pytest.raises(LayerError, match=r"do not come second.*such as 'head'"):
            look()


def test_and_the_layers_around_them_are_drawn():
    model, image = _ChannelsLast().double(), torch.randn(1, 3, 40, 24).double()
    for layer in ("stem", "head"):
        maps = {}
        handle = model.get_submodule(layer).register_forward_hook(
            lambda _m, _i, out, maps=maps: maps.update(out=out)
        )
        leaf = image.clone().requires_grad_()
        model(leaf)
        handle.remove()
        (expected,) = torch.autograd.grad(maps["out"][0, 1, 3, 2], leaf)
        found = project(model, image, [Unit(layer, 1, 3, 2)], "gradient")[0]
        torch.testing.assert_close(found.full(), expected[0])
    assert receptive_field(model, "stem", (3, 40, 24)).size == 4


odd = st.one_of(
    st.sampled_from([(name, function, True) for name, function in {**SIZES, **COMPANY}.items()]),
    st.sampled_from([(name, *pair) for name, pair in IMAGES.items()]),
    st.sampled_from(
        [
            (name, lambda part, x, f=function: f(part.conv(x)), False)
            for name, function in UNKNOWN.items()
        ]
    ),
)


@pytest.mark.slow
@given(
    parts=st.lists(odd, min_size=1, max_size=3),
    size=st.tuples(st.integers(30, 44), st.integers(30, 44)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_graphs_of_odd_parts_are_right_or_refused(parts, size, place, rule, seed):
    """And refused they must be where a part is not linear and the rule is for rectifiers."""
    modules = [Part(function, is_linear) for _, function, is_linear in parts]
    blocks = [block for module in modules for block in (module, nn.ReLU())]
    model, images = _network(*blocks, seed=seed), _images(size, seed)
    with torch.no_grad():
        try:
            maps = model(images[:1])
        except RuntimeError:
            return  # the parts do not fit one another
    rows, columns = (round(p * (n - 1)) for p, n in zip(place, maps.shape[2:], strict=True))
    unit = Unit(_last(model), 1, rows, columns)
    known = all(module.is_linear for module in modules)
    try:
        _check(model, images, unit, rule)
    except InternalsError as error:
        assert "\n" not in str(error)
        assert rule != "gradient" or "no gradient leads" in str(error)
    else:
        assert known or rule == "gradient"
