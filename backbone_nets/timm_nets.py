"""Any network of the timm library (`--arch timm:NAME`), for instance ghostnet_100 or resnest50d."""

from __future__ import annotations

from backbone_nets.regressor import ParameterRegressor

IMG_SIZE = 120


def build(name: str) -> ParameterRegressor:
    """The timm network `name`, pooled by timm's own rule, without pretrained weights.

    Raises:
        ValueError: timm is not installed, or does not know the name.
    """
    try:
        import timm
    except ImportError:
        raise ValueError(f"arch 'timm:{name}' needs timm; pip install timm") from None
    if name not in timm.list_models():
        raise ValueError(f"unknown arch 'timm:{name}'; timm.list_models() lists the choices")
    # networks with position embeddings must know the image size, others do not accept it
    fixed_size = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
    options = {"img_size": IMG_SIZE} if fixed_size else {}
    network = timm.create_model(name, pretrained=False, num_classes=0, **options)
    return ParameterRegressor(network, network.head_hidden_size)
