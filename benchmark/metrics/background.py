"""How well an edit keeps what lies outside the mask: PSNR, MSE and SSIM on filled pictures (SmartEdit, section 4)."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from benchmark.metrics.pictures import Float32, SourceFrame, UInt8
from benchmark.protocols import Protocol

C1, C2 = np.float32(0.01**2), np.float32(0.03**2)
"""The constants of SSIM for pictures in [0, 1] (Wang et al. 2004)."""


def _gaussian_window() -> Float32:
    """The 11 x 11 Gaussian of sigma 1.5, in float32 as the reference numbers were made."""
    distance = np.arange(-5, 6, dtype=np.float32) / np.float32(1.5)
    line = np.exp(-(distance**2) / np.float32(2)).astype(np.float32)
    line /= np.float32(line.sum(dtype=np.float64))
    window: Float32 = np.outer(line, line).astype(np.float32)
    return window


WINDOW = _gaussian_window()


@dataclass(frozen=True, kw_only=True, slots=True)
class FilledSource:
    """The source side of every background comparison, made once and used for all methods.

    Attributes:
        frame: The source picture, its background weights and its box.
        pixels: float32, H x W x 3, in [0, 1]; the source picture with its foreground filled.
        mean: The local Gaussian mean of `pixels`.
        mean_squared: Its square.
        variance: The local Gaussian variance of `pixels`.
    """

    frame: SourceFrame
    pixels: Float32
    mean: Float32
    mean_squared: Float32
    variance: Float32


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundScores:
    """PSNR in dB, MSE for pictures in [0, 1], and SSIM; NaN where there is no background."""

    psnr: float
    mse: float
    ssim: float


def unit_pixels(image: UInt8) -> Float32:
    """8-bit pixels as float32 in [0, 1]."""
    pixels: Float32 = np.divide(image, np.float32(255), dtype=np.float32)
    return pixels


def fill_source(frame: SourceFrame, protocol: Protocol) -> FilledSource:
    """The source side of a comparison: its foreground filled, and the moments that SSIM needs.

    Args:
        frame: The source in the protocol's frame.
        protocol: Says what fills the foreground.

    Returns:
        What `compare` takes for any number of edits.
    """
    pixels = unit_pixels(frame.image)
    if protocol.fill == "zero":
        pixels *= frame.weights[..., None]
    mean = _blur(pixels)
    mean_squared = mean * mean
    variance = np.maximum(_blur(pixels * pixels) - mean_squared, 0)
    return FilledSource(frame=frame, pixels=pixels, mean=mean, mean_squared=mean_squared, variance=variance)


def fill_edited(source: FilledSource, edited: UInt8, protocol: Protocol) -> Float32:
    """The edited side: float32, H x W x 3, in [0, 1], its foreground filled as the protocol says."""
    pixels = unit_pixels(edited)
    if protocol.fill == "zero":
        pixels *= source.frame.weights[..., None]
        return pixels
    return np.where(source.frame.weights[..., None] > 0, pixels, source.pixels)


def psnr_of(mse: float) -> float:
    """PSNR in dB of a mean squared error of pictures in [0, 1]; infinite for 0."""
    return math.inf if mse == 0 else -10 * math.log10(mse)


def compare(source: FilledSource, filled: Float32, protocol: Protocol) -> BackgroundScores:
    """PSNR, MSE and SSIM of an edit's background.

    Args:
        source: The source side.
        filled: The edited side, as `fill_edited` gives it.
        protocol: Says what is averaged.

    Returns:
        The three scores.
    """
    total = cv2.norm(source.pixels, filled, cv2.NORM_L2SQR)
    ssim_map = structural_similarity(source, filled)
    if protocol.average == "background":
        share = float(source.frame.weights.sum(dtype=np.float64))
        if share == 0:
            return BackgroundScores(psnr=math.nan, mse=math.nan, ssim=math.nan)
        mse = total / (3 * share)
        ssim_map *= source.frame.weights[..., None]
        ssim = sum(cv2.sumElems(ssim_map)) / (3 * share)
    else:
        mse = total / filled.size
        ssim = sum(cv2.mean(_without_border(ssim_map, protocol.ssim_border))) / 3
    return BackgroundScores(psnr=psnr_of(mse), mse=mse, ssim=ssim)


def _without_border(ssim_map: Float32, border: int) -> Float32:
    height, width = ssim_map.shape[:2]
    return ssim_map[border : height - border, border : width - border]


def structural_similarity(source: FilledSource, filled: Float32) -> Float32:
    """The SSIM map (Wang et al. 2004) with an 11 x 11 Gaussian window, borders reflected.

    The blur sums 121 products in float32, row by row: the rounding of flat regions moves a picture's mean by up to
    4e-5, so a faster separable or a float64 blur would not reproduce the published way of measuring.

    Args:
        source: The source side.
        filled: float32, H x W x 3, the edited side.

    Returns:
        float32, H x W x 3, in [-1, 1].
    """
    mean = _blur(filled)
    covariance = _blur(source.pixels * filled)
    variance = _blur(filled * filled)
    means = source.mean * mean
    covariance -= means
    mean *= mean
    variance -= mean
    np.maximum(variance, 0, out=variance)
    variance += source.variance
    mean += source.mean_squared
    for term, constant in ((means, C1), (covariance, C2)):
        term *= 2
        term += constant
    mean += C1
    variance += C2
    means *= covariance
    mean *= variance
    means /= mean
    return means


def _blur(pixels: Float32) -> Float32:
    blurred: Float32 = cv2.filter2D(pixels, -1, WINDOW, borderType=cv2.BORDER_REFLECT_101)
    return blurred
