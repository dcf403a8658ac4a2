"""Novel views from multiplane images: planes, renderer, the implicit decoder of ImMPI and explicit optimisation.

An MPI is a tensor [P, 4, H, W], red, green, blue in 0..1 and sigma >= 0 (density per unit length), plane 0 nearest, the
planes' depths uniform in inverse depth in the reference camera. `render_mpi(mpi, depths, camera)` makes a view of it.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "plane_depths": "planes",
    "plane_homographies": "planes",
    "plane_distances": "planes",
    "plane_sweep": "planes",
    "PlaneSweep": "planes",
    "MpiCamera": "render",
    "RenderOptions": "render",
    "MpiRendering": "render",
    "render_mpi": "render",
    "ImMPI": "model",
    "Encoder": "encoder",
    "Decoder": "decoder",
    "plane_codes": "plane_code",
    "view_set": "views",
    "ViewSet": "views",
    "MpiFrame": "views",
    "optimise_explicit": "explicit",
    "ExplicitOptions": "explicit",
    "optimise_decoder": "per_scene",
    "DecoderOptions": "per_scene",
    "DecoderResult": "per_scene",
    "optimise_hybrid": "hybrid",
    "HybridOptions": "hybrid",
    "bake": "hybrid",
    "DecoderLoss": "decoder_loss",
    "DecoderLossOptions": "decoder_loss",
    "Switches": "decoder_loss",
    "train_cross_scene": "cross_scene",
    "CrossSceneOptions": "cross_scene",
    "SceneSample": "scene_samples",
    "decode_scene": "decode",
    "load_model": "decode",
    "model_from_state": "decode",
    "new_model": "decode",
    "OptimisedMpi": "result",
    "save_mpi": "result",
    "Watch": "watch",
    "open_mpi": "render_only",
    "open_model": "render_only",
    "load_mpi": "result",
    "best_single_plane": "baselines",
    "warp_by_plane": "baselines",
    "warp_by_depth": "baselines",
    "nearest_view": "baselines",
    "SceneScores": "scene_scores",
    "score_result": "scene_scores",
    "score_baselines": "scene_scores",
    "gains": "scene_scores",
    "Split": "splits",
    "choose_split": "splits",
    "score_view": "evaluation",
    "mean_scores": "evaluation",
    "mean_and_sd": "evaluation",
    "seconds_to_reach": "evaluation",
    "score_depth": "evaluation",
    "best_constant_depth": "evaluation",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
