"""`from_torch` on layers whose next call is not what their attributes say: weights made anew, hooks, patches."""

import numpy as np
import pytest

import sparsetconv as stc

torch = pytest.importorskip("torch")
prune = pytest.importorskip("torch.nn.utils.prune")

nn = torch.nn
hooked, parametrizations = nn.utils, nn.utils.parametrizations
SHAPE = (2, 9, 8)

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")


def conv(**options):
    torch.manual_seed(0)
    return nn.Conv2d(2, 3, (2, 3), dtype=torch.float64, **options)


def check(layer):
    """Compare the operator with the layer's next call, and the layer's state before and after."""
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    own = set(vars(layer))
    A = stc.from_torch(layer, SHAPE)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
    assert set(vars(layer)) == own
    x = np.random.default_rng(0).standard_normal((3, *SHAPE))
    with torch.no_grad():
        expected = (layer(torch.from_numpy(x)) - layer.bias[:, None, None]).numpy()
    np.testing.assert_allclose(A.apply(x), expected, rtol=0, atol=1e-13 * np.abs(expected).max())


RENEWED = {
    # by a hook before each call: the attribute is stale until then
    "weight_norm": lambda layer: hooked.weight_norm(layer),
    "spectral_norm": lambda layer: hooked.spectral_norm(layer),
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", amount=5),
    "prune-twice": lambda layer: prune.random_structured(
        prune.l1_unstructured(layer, "weight", amount=5), "weight", amount=1, dim=1
    ),
    # several in a row, one of which renews what the one before has read
    "weight_norm-prune": lambda layer: prune.l1_unstructured(hooked.weight_norm(layer), "weight_v", amount=5),
    "weight_norm-spectral_norm": lambda layer: hooked.spectral_norm(hooked.weight_norm(layer), "weight_v"),
    # by a parametrization, whenever the attribute is read
    "new-weight_norm": lambda layer: parametrizations.weight_norm(layer),
    "new-spectral_norm": lambda layer: parametrizations.spectral_norm(layer),
    "new-orthogonal": lambda layer: parametrizations.orthogonal(layer),
    "new-both": lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    # both
    "prune-new-spectral_norm": lambda layer: parametrizations.spectral_norm(
        prune.l1_unstructured(layer, "weight", amount=5), "weight_orig"
    ),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", RENEWED)
def test_renewed_weights(name, training):
    layer = RENEWED[name](conv()).train(training)
    check(layer)
    with torch.no_grad():
        for number, weights in enumerate(layer.parameters()):
            weights.mul_(1.7 + number)
    check(layer)
    # and once more, after a call that may have changed buffers
    check(layer)


def test_cached_parametrization():
    layer = parametrizations.spectral_norm(conv())
    with nn.utils.parametrize.cached():
        check(layer)
        # computed by that call, and not again in this block
        check(layer)


def test_parametrizations_that_are_not_known():
    class Noise(nn.Module):
        def forward(self, weights):
            return weights + torch.rand_like(weights)

    class Held(nn.Module):
        def forward(self, weights):
            self.last = 2 * weights
            return self.last

    layer = conv()
    nn.utils.parametrize.register_parametrization(layer, "weight", Noise())
    with pytest.raises(ValueError, match=r"module\.weight must be the same in each call"):
        stc.from_torch(layer, SHAPE)
    # a tensor with a history cannot be copied
    layer = conv()
    nn.utils.parametrize.register_parametrization(layer, "weight", Held())
    with pytest.raises(ValueError, match=r"module\.weight must have a parametrization that can be copied"):
        stc.from_torch(layer, SHAPE)


@pytest.mark.parametrize("method", ["forward", "_conv_forward", "_call_impl", "__call__"])
@pytest.mark.parametrize("owner", ["instance", "derived", "package"])
def test_replaced_methods(method, owner, monkeypatch):
    cls = {"instance": nn.Conv2d, "package": nn.Conv2d, "derived": type("Mine", (nn.Conv2d,), {})}[owner]
    layer = cls(2, 3, 2)
    old = getattr(cls, method)

    def doubled(*args):
        return 2 * old(*args)

    place = layer if owner == "instance" else cls
    monkeypatch.setattr(place, method, doubled.__get__(layer) if owner == "instance" else doubled)
    says = {
        "instance": f"{method} is replaced on this instance",
        "derived": f"Mine defines {method} itself",
        "package": f"{method} of its class is replaced",
    }
    with pytest.raises(TypeError, match=f"module must compute what Conv2d does, but {says[owner]}"):
        stc.from_torch(layer, SHAPE)


LAYERS = {
    "conv": lambda: nn.Conv2d(2, 3, 2),
    "transposed": lambda: nn.ConvTranspose2d(2, 3, 2),
    "pool": lambda: nn.AvgPool2d(2),
    "upsample": lambda: nn.Upsample(scale_factor=2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_hooks(name):
    layer = LAYERS[name]()
    everywhere = nn.modules.module
    registrations = {
        "forward hook": [
            lambda: layer.register_forward_hook(lambda *_: None),
            lambda: layer.register_forward_hook(lambda *_: None, with_kwargs=True, always_call=True),
        ],
        "forward pre-hook": [
            lambda: layer.register_forward_pre_hook(lambda *_: None),
            lambda: layer.register_forward_pre_hook(lambda *_: None, with_kwargs=True),
        ],
        "global forward hook": [lambda: everywhere.register_module_forward_hook(lambda *_: None)],
        "global forward pre-hook": [lambda: everywhere.register_module_forward_pre_hook(lambda *_: None)],
    }
    for word, makers in registrations.items():
        for register in makers:
            handle = register()
            try:
                with pytest.raises(
                    TypeError, match=rf"module must be called without hooks.* the {word} \S+;"
                ):
                    stc.from_torch(layer, SHAPE)
            finally:
                handle.remove()
    # a hook of the gradient leaves the result alone
    layer.register_full_backward_hook(lambda *_: None)
    stc.from_torch(layer, SHAPE)


def test_hook_beside_one_that_renews_weights():
    layer = hooked.weight_norm(conv())
    layer.register_forward_pre_hook(lambda *_: None)
    with pytest.raises(TypeError, match="without hooks"):
        stc.from_torch(layer, SHAPE)


def test_compiled_modules():
    layer = conv()
    layer.compile(backend="eager")
    check(layer)
    with pytest.raises(TypeError, match="got OptimizedModule; give its _orig_mod"):
        stc.from_torch(torch.compile(conv(), backend="eager"), SHAPE)
    layer._compiled_call_impl = lambda x: x
    with pytest.raises(TypeError, match="_compiled_call_impl is replaced on this instance"):
        stc.from_torch(layer, SHAPE)


def test_padding_changed_after_the_layer_was_made():
    """Other modes than zeros pad by numbers that were made with the layer, as tiling by circular padding does."""
    layer = conv(padding=(1, 2))
    layer.padding_mode = "circular"
    check(layer)
    layer.padding = (0, 0)
    check(layer)
    layer.padding_mode = "zeros"
    check(layer)
    transposed = nn.ConvTranspose2d(2, 3, 2)
    transposed.padding_mode = "circular"
    with pytest.raises(ValueError, match=r"module\.padding_mode must be 'zeros' .* got 'circular'"):
        stc.from_torch(transposed, SHAPE)


def with_weights(change):
    layer = conv()
    layer.weight = nn.Parameter(change(layer.weight.detach()))
    return layer


class Tensor(torch.Tensor):
    """A class of its own, as quantized and distributed tensors have: it may multiply as it likes."""


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (
            lambda: nn.Conv2d(2, 3, 2, device="meta"),
            ValueError,
            r"module\.weight must have values, .*device='meta'",
        ),
        (
            lambda: with_weights(torch.Tensor.to_sparse),
            TypeError,
            r"module\.weight must be a dense .* torch\.sparse_coo",
        ),
        (
            lambda: with_weights(lambda weights: weights.as_subclass(Tensor)),
            TypeError,
            "must be a plain tensor, got .*Tensor",
        ),
        (lambda: with_weights(lambda weights: weights[0]), ValueError, r"module\.weight must have 4 axes"),
        (
            lambda: torch.ao.nn.quantized.Conv2d(2, 3, 2),
            TypeError,
            r"must be one of .*; got torch\.ao\.nn\.quantized",
        ),
        (lambda: type("Conv2d", (nn.Module,), {})(), TypeError, r"must be one of .*; got .*\.Conv2d$"),
        (lambda: nn.DataParallel(conv()), TypeError, "got DataParallel; give its module"),
    ],
    ids=["meta", "sparse", "subclass", "axes", "quantized", "same-name", "wrapped"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_weights_and_layers_that_are_refused(layer, error, message):
    with pytest.raises(error, match=message):
        stc.from_torch(layer(), SHAPE)
