"""Transfer of networks to object detection and semantic segmentation."""
