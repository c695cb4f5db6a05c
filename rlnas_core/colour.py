"""Colours in CIE Lab, and bins of them."""

import torch
from torch import Tensor

STEP = 10
"""Height and width of a bin of a and b."""

# sRGB's primaries in CIE XYZ (IEC 61966-2-1); white is their sum, so that grey has no colour at all.
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_BEND = 6 / 29  # where CIE's cube root turns into a line


def lab(rgb: Tensor) -> Tensor:
    """L (0 to 100), a and b of sRGB colours (B, 3, H, W) from 0 to 1."""
    primaries = torch.tensor(_XYZ, dtype=rgb.dtype, device=rgb.device)
    primaries = primaries / primaries.sum(1, keepdim=True)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    # Sums rather than a product of matrices, which autocast would run in bfloat16
    xyz = (linear[:, None] * primaries[:, :, None, None]).sum(2)
    x, y, z = torch.where(xyz > _BEND**3, xyz ** (1 / 3), xyz / (3 * _BEND**2) + 4 / 29).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def bins() -> Tensor:
    """The a and b of the centres of all bins that have a colour of sRGB, (261, 2) float64."""
    shades = torch.linspace(0, 1, 86, dtype=torch.float64)
    colours = lab(torch.cartesian_prod(shades, shades, shades).T[None, :, None])[0, 1:, 0].T
    return STEP * (colours / STEP).round().unique(dim=0)


def nearest(ab: Tensor, bins: Tensor) -> Tensor:
    """The index of the bin (Q, 2) whose centre is nearest to each a and b (B, 2, H, W): int64 (B, H, W)."""
    points = ab.movedim(1, -1)
    distances = torch.cdist(points.flatten(0, 2), bins, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.argmin(1).view(points.shape[:3])
