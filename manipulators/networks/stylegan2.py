"""The StyleGAN2 generator: mapping network, modulated convolutions, stored noise, skip RGB outputs.

Karras et al. 2020. Parameter names and arithmetic are those of the checkpoints that pSp, e4e and StyleCLIP share.
Modulation scales a convolution's input and demodulation its output, which equals scaling its weights per image
(Karras et al. 2020, equations 1 and 3) and computes no image of a batch with another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OFFICIAL_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate, and the fused leaky ReLU behind it when ``activation`` is set."""

    def __init__(self, n_in: int, n_out: int, bias: float = 0.0, lr_mul: float = 1.0, activation: bool = False) -> None:
        super().__init__()
        weight = torch.randn(n_out, n_in)
        self.weight = nn.Parameter(weight if lr_mul == 1 else weight / lr_mul)
        self.bias = nn.Parameter(torch.full((n_out,), bias))
        self.scale, self.lr_mul, self.activation = lr_mul / math.sqrt(n_in), lr_mul, activation

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return F.leaky_relu(out, 0.2) * math.sqrt(2) if self.activation else out


class PixelNorm(nn.Module):
    """Divides by the root mean square over dimension 1, whatever that holds: channels of z, rows of w+."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Resample(nn.Module):
    """Holds the kernel outer([1, 3, 3, 1]) / 64 times 4 under the official name."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        k = (1, 3, 3, 1)
        self.register_buffer("kernel", torch.tensor([[a * b / 16 for b in k] for a in k]))

    def depthwise(self, channels: int) -> Tensor:
        return self.kernel.expand(channels, 1, 4, 4)


class Blur(Resample):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.depthwise(x.shape[1]), padding=1, groups=x.shape[1])


class Upsample(Resample):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.depthwise(x.shape[1]), stride=2, padding=1, groups=x.shape[1])


class ModulatedConv2d(nn.Module):
    energy: Tensor | None

    def __init__(
        self, n_in: int, n_out: int, kernel: int, style: int, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.scale, self.kernel, self.demodulate, self.up = 1 / math.sqrt(n_in * kernel**2), kernel, demodulate, up
        if up:
            self.blur = Blur()
        self.weight = nn.Parameter(torch.randn(1, n_out, n_in, kernel, kernel))
        self.modulation = EqualLinear(style, n_in, bias=1.0)
        self.register_buffer("energy", None, persistent=False)

    def fold(self) -> None:
        """See :func:`fold_scales`."""
        weight = self.weight.detach()[0] * self.scale
        # As the convolution reads it, which else copies it there each time.
        by_layout = weight.transpose(0, 1) if self.up else weight
        by_layout = by_layout.contiguous(memory_format=torch.channels_last)
        self.weight.data = (by_layout.transpose(0, 1) if self.up else by_layout)[None]
        # In float64 the order of summation, which changes with the processor, is lost when rounding.
        energy = weight.double().square().sum((2, 3)).to(weight)
        self.scale, self.energy = 1.0, energy if self.demodulate else None

    def convolve(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor | None]:
        """The convolution of the modulated input, and what demodulates its channels, ``[B, n_out, 1, 1]``."""
        style = self.modulation(code)
        weight = self.weight[0] if self.scale == 1 else self.weight[0] * self.scale
        x = x * style[:, :, None, None]
        if self.up:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=self.kernel // 2)
        if not self.demodulate:
            return x, None
        energy = weight.square().sum((2, 3)) if self.energy is None else self.energy
        norm = torch.rsqrt(F.linear(style.square(), energy) + 1e-8)
        return x, norm[:, :, None, None]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        x, norm = self.convolve(x, code)
        return x if norm is None else x * norm


class NoiseInjection(nn.Module):
    """Holds the strength of a layer's noise under the official name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class FusedLeakyReLU(nn.Module):
    """Holds a layer's bias under the official name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU times the root of 2."""

    def __init__(self, n_in: int, n_out: int, style: int, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(n_in, n_out, 3, style, up=up)
        self.noise = NoiseInjection()
        self.activate = FusedLeakyReLU(n_out)

    def forward(self, x: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        x, norm = self.conv.convolve(x, code)
        assert norm is not None
        # A leaky ReLU times c is that of c times its input: one pass over x instead of five.
        offset = (self.noise.weight * noise + self.activate.bias[:, None, None]) * math.sqrt(2)
        return F.leaky_relu(torch.addcmul(offset, x, norm * math.sqrt(2)), 0.2, inplace=True)


class ToRGB(nn.Module):
    def __init__(self, n_in: int, style: int, up: bool = True) -> None:
        super().__init__()
        if up:
            self.upsample = Upsample()
        self.conv = ModulatedConv2d(n_in, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor, skip: Tensor | None = None) -> Tensor:
        out: Tensor = self.conv(x, code) + self.bias
        return out if skip is None else out + self.upsample(skip)


class ConstantInput(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class StyleGAN2(nn.Module):
    """Codes ``[B, n_codes, style]`` -> images ``[B, 3, size, size]``, raw: no tanh, unclamped.

    Args:
        size: output height and width, a power of two.
        style: numbers per code.
        n_mapping: layers of the mapping network.
        channels: feature channels by resolution.
        z_size: numbers of z; ``style`` unless given.
    """

    def __init__(
        self,
        size: int = 1024,
        style: int = 512,
        n_mapping: int = 8,
        channels: Mapping[int, int] = OFFICIAL_CHANNELS,
        z_size: int | None = None,
    ) -> None:
        super().__init__()
        self.z_size = z_size or style
        mapping = [
            EqualLinear(self.z_size if i == 0 else style, style, lr_mul=0.01, activation=True) for i in range(n_mapping)
        ]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(channels[4])
        self.conv1 = StyledConv(channels[4], channels[4], style)
        self.to_rgb1 = ToRGB(channels[4], style, up=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        self.n_blocks = int(math.log2(size)) - 2
        self.n_codes = 2 * self.n_blocks + 2
        for i in range(self.n_blocks):
            n_in, n_out = channels[4 * 2**i], channels[8 * 2**i]
            self.convs += [StyledConv(n_in, n_out, style, up=True), StyledConv(n_out, n_out, style)]
            self.to_rgbs.append(ToRGB(n_out, style))
        self.noises = nn.Module()
        for i in range(2 * self.n_blocks + 1):
            r = 2 ** ((i + 5) // 2)
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, r, r))

    def forward(self, codes: Tensor) -> Tensor:
        noise = [self.noises.get_buffer(f"noise_{i}") for i in range(2 * self.n_blocks + 1)]
        x = self.input.input.expand(len(codes), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.conv1(x, codes[:, 0], noise[0])
        image = self.to_rgb1(x, codes[:, 1])
        for block in range(self.n_blocks):
            i = 2 * block + 1
            x = self.convs[i - 1](x, codes[:, i], noise[i])
            x = self.convs[i](x, codes[:, i + 1], noise[i + 1])
            image = self.to_rgbs[block](x, codes[:, i + 2], image)
        out: Tensor = image
        return out


def fold_scales(decoder: nn.Module) -> None:
    """Works the scales of the modulated convolutions into their weights, in place; for evaluation only.

    What depends on the weights alone is then computed once and not in every pass.
    """
    for layer in decoder.modules():
        if isinstance(layer, ModulatedConv2d):
            layer.fold()
