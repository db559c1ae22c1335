"""What one site remembers between two events, as a value that travels as bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from spoton import camera_watch, memory, portraits
from spoton import crowd as crowds
from spoton.bindings import Binding, Gallery, TrackKey, no_looks, relooked
from spoton.camera_watch import Watch
from spoton.crowd import STATE, Crowd
from spoton.errors import InputError
from spoton.events import Correction
from spoton.memory import Memory
from spoton.offsets import Offsets, none_known, of_cameras
from spoton.ticks import NEVER_US, Alignment


class PeopleState(msgspec.Struct, frozen=True):
    """Everything a site remembers between two events.

    cameras: what the camera columns of ``crowd`` stand for. at_us, first_us: last and first tick. close: who stands in
    one place with whom since when, by uid. waiting: operators' corrections whose time has not come. commands_seq: of
    the last one taken in. apart: whom operators told apart, by number. merged: who was merged into whom, by number.
    merged, last_number, ticks, identities_seq, positions_seq follow from the decided events, all else from the input.
    """

    alignment: Alignment = Alignment()
    cameras: tuple[str, ...] = ()
    at_us: int = NEVER_US
    first_us: int = NEVER_US
    crowd: Crowd = msgspec.field(default_factory=lambda: crowds.nobody(0))
    bindings: dict[TrackKey, Binding] = {}
    gallery: Gallery = msgspec.field(default_factory=no_looks)
    memory: Memory = msgspec.field(default_factory=memory.nobody)
    album: portraits.Album = portraits.Album()
    close: dict[tuple[int, int], int] = {}
    offsets: Offsets = msgspec.field(default_factory=lambda: none_known(0))
    watch: Watch = msgspec.field(default_factory=lambda: camera_watch.none_known(0))
    waiting: tuple[Correction, ...] = ()
    commands_seq: int = 0
    apart: tuple[tuple[int, int], ...] = ()
    next_uid: int = 1
    merged: dict[int, int] = {}
    last_number: int = 0
    ticks: int = 0
    identities_seq: int = 0
    positions_seq: int = 0


def with_cameras(state: PeopleState, cameras: tuple[str, ...]) -> PeopleState:
    """The state after the site's cameras changed: every column that stands for one moves with it."""
    if state.cameras == cameras:
        return state
    changed: PeopleState = msgspec.structs.replace(
        state,
        cameras=cameras,
        crowd=crowds.reseen(state.crowd, state.cameras, cameras),
        offsets=of_cameras(state.offsets, state.cameras, cameras),
        watch=camera_watch.of_cameras(state.watch, state.cameras, cameras),
        gallery=relooked(state.gallery, state.cameras, cameras),
    )
    return changed


def _array_out(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.bool_:
        return (value.dtype.str, value.shape, np.packbits(value).tobytes())
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())
    raise NotImplementedError(f"cannot pack {type(value).__name__}")


def _array_in(_: type, value: Any) -> Any:
    dtype, shape, data = value
    if dtype == np.dtype(np.bool_).str:
        bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=math.prod(shape))
        return bits.reshape(shape).astype(np.bool_)
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


_encoder = msgspec.msgpack.Encoder(enc_hook=_array_out)
_decoder: msgspec.msgpack.Decoder[PeopleState] = msgspec.msgpack.Decoder(PeopleState, dec_hook=_array_in)

pack: Callable[[PeopleState], bytes] = _encoder.encode


def unpack(data: bytes) -> PeopleState:
    """The exact reverse of ``pack``; InputError when the bytes are no state."""
    try:
        state = _decoder.decode(data)
        if state.crowd.mean.shape[1:] != (len(STATE),) or len(state.offsets.pull) != len(state.cameras):
            raise ValueError(f"people of {state.crowd.mean.shape[1:]} numbers, {len(state.offsets.pull)} cameras known")
        if len(state.watch.skews.applied_us) != len(state.cameras):
            # Written before clocks were watched.
            state = msgspec.structs.replace(state, watch=camera_watch.none_known(len(state.cameras)))
        return state
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise InputError(
            f"state of a site's people, {len(data)} bytes, cannot be read ({error})",
            remedy="another version wrote it, or it is damaged: start with a new data folder",
        ) from error
