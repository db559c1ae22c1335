"""How each family's published code prepares a picture and reads the outputs, written down a second time.

Plain loops from the papers and demos, sharing nothing with what they are compared with: YOLOX (demo_utils.py: preproc,
demo_postprocess, nms), PaddleDetection (Resize with keep_ratio false, NormalizeImage, Permute; PicoDet's post-process),
YOLOv5 and v8 (letterbox with auto off; xywh boxes, non-maximum suppression, scale_boxes).
"""

from __future__ import annotations

import cv2
import numpy as np


def yolox_input(rgb, width, height):
    image = rgb[:, :, ::-1]  # as cv2.imread gives it
    padded = np.ones((height, width, 3), dtype=np.uint8) * 114
    ratio = min(height / image.shape[0], width / image.shape[1])
    size = max(1, int(image.shape[1] * ratio)), max(1, int(image.shape[0] * ratio))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    padded[: resized.shape[0], : resized.shape[1]] = resized
    return np.ascontiguousarray(padded.transpose(2, 0, 1), dtype=np.float32), (ratio, ratio, 0, 0)


def picodet_input(rgb, width, height):
    scale_y, scale_x = height / float(rgb.shape[0]), width / float(rgb.shape[1])
    image = cv2.resize(rgb, None, None, fx=scale_x, fy=scale_y, interpolation=cv2.INTER_CUBIC)
    assert image.shape[:2] == (height, width)
    image = image.astype(np.float32)
    image *= 1.0 / 255.0
    image -= np.array([0.485, 0.456, 0.406])[None, None]
    image /= np.array([0.229, 0.224, 0.225])[None, None]
    return image.transpose(2, 0, 1), (scale_x, scale_y, 0, 0)


def yolo_input(rgb, width, height):
    shape = rgb.shape[:2]
    ratio = min(height / shape[0], width / shape[1])
    unpadded = max(1, round(shape[1] * ratio)), max(1, round(shape[0] * ratio))
    dw, dh = (width - unpadded[0]) / 2, (height - unpadded[1]) / 2
    image = rgb if shape[::-1] == unpadded else cv2.resize(rgb, unpadded, interpolation=cv2.INTER_LINEAR)
    top, bottom = round(dh - 0.1), round(dh + 0.1)
    left, right = round(dw - 0.1), round(dw + 0.1)
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return image.transpose(2, 0, 1).astype(np.float32) / 255, (ratio, ratio, left, top)


def yolox_people(outputs, width, height, least):
    rows = outputs[0].copy()
    grids, strides = [], []
    for stride in (8, 16, 32):
        across, down = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        grids.append(np.stack((across, down), 2).reshape(-1, 2))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    grid, stride = np.concatenate(grids), np.concatenate(strides)
    rows[:, :2] = (rows[:, :2] + grid) * stride
    rows[:, 2:4] = np.exp(rows[:, 2:4]) * stride
    return [(*corners(row[:4]), row[4] * row[5]) for row in rows if row[4] * row[5] >= least]


def yolov5_people(outputs, width, height, least):
    return [(*corners(row[:4]), row[4] * row[5]) for row in outputs[0] if row[4] * row[5] >= least]


def yolov8_people(outputs, width, height, least):
    return [(*corners(column[:4]), column[4]) for column in outputs[0].T if column[4] >= least]


def picodet_people(outputs, width, height, least):
    found = []
    for level, stride in enumerate((8, 16, 32, 64)):
        across = -(-width // stride)
        for cell, (scores, spread) in enumerate(zip(outputs[level], outputs[level + 4], strict=True)):
            if scores[0] < least:
                continue
            x, y = (cell % across + 0.5) * stride, (cell // across + 0.5) * stride
            bins = np.exp(spread.reshape(4, -1).astype(np.float64))
            reach = (bins / bins.sum(1, keepdims=True) * np.arange(bins.shape[1])).sum(1) * stride
            found.append((x - reach[0], y - reach[1], x + reach[2], y + reach[3], scores[0]))
    return found


def corners(centre_size):
    x, y, w, h = centre_size
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def suppressed(found, overlap_max=0.6):
    """Greedy, one pair at a time."""
    kept = []
    for one in sorted(found, key=lambda row: -row[4]):
        if all(overlap(one, other) <= overlap_max for other in kept):
            kept.append(one)
    return np.array(kept, dtype=np.float64).reshape(-1, 5)


def overlap(one, other):
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    tall = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(row[2] - row[0]) * (row[3] - row[1]) for row in (one, other)]
    return wide * tall / (sum(areas) - wide * tall)


INPUTS = {"yolox": yolox_input, "picodet": picodet_input, "yolov5": yolo_input, "yolov8": yolo_input}
PEOPLE = {"yolox": yolox_people, "picodet": picodet_people, "yolov5": yolov5_people, "yolov8": yolov8_people}


def detect(family, session, rgb, *, least):
    """Boxes (N, 4) left, top, width, height and scores (N,), by the reference's way, cut to the picture."""
    node = session.get_inputs()[0]
    height, width = node.shape[2:]
    tensor, (scale_x, scale_y, left, top) = INPUTS[family](rgb, width, height)
    kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[node.type]
    outputs = session.run(None, {node.name: tensor[None].astype(kind)})
    found = PEOPLE[family]([np.asarray(output[0], np.float32) for output in outputs], width, height, least)
    rows = suppressed(found)
    limits = np.array([rgb.shape[1], rgb.shape[0]] * 2)
    shifts, scales = np.array([left, top, left, top]), np.array([scale_x, scale_y, scale_x, scale_y])
    rows[:, :4] = np.clip((rows[:, :4] - shifts) / scales, 0, limits)
    rows = rows[(rows[:, 2] - rows[:, 0] >= 1) & (rows[:, 3] - rows[:, 1] >= 1)]
    return np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], axis=1), rows[:, 4]
