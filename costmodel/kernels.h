// Kernels: how a framework's software performs the layers, where that changes the list of Steps.
// Facts, not fitted figures; the defaults are what this project's own executor does.
#pragma once

namespace shardwright {

struct Kernels {
  bool flash_attention = true;  // false: scores, softmax and context as separate kernels
  // Weight gradients are added to fp32 main gradients: 8 bytes for each local weight and
  // microbatch, also where the matrix product does the adding.
  bool main_gradients = false;
  // Recomputation runs whole functions again: the last product and its reduction too, whose
  // results nobody needs (torch.utils.checkpoint, Megatron-LM).
  bool whole_recompute = false;
  // The loss reads its logits once forward and twice backward. false: through fp32 copies, 20 bytes
  // for each of [tokens, vocabulary] in all (modelling of published runs, "logits").
  bool fused_loss = true;
  // Expert dispatch sends a token once to each node that needs it and copies it there (DeepEP,
  // HybridEP). false: once for each expert.
  bool node_dispatch = false;
  // A message between stages is cut into tp parts, one sent by each rank. false: all of it by each.
  bool scattered_messages = false;
  bool dropout =
      false;  // residual and attention dropout with their masks (GPT-2 and GPT-3 recipes)
  // Vocabularies are padded to a multiple of 128 * tp, which keeps the head on tensor cores.
  bool padded_vocabulary = false;
  // Attention by FlashAttention 2, which does not use what tensor cores since Hopper offer.
  bool flash_2 = false;
  // Sliding windows save time. false: the kernel works through the whole causal half and masks.
  bool skips_windows = true;
  // Expert all-to-all runs beside another microbatch's compute unless a run says otherwise.
  bool expert_overlap = false;
  // Share of the launches that the host still issues one by one: 1 eager, less with CUDA graphs.
  double host_share = 1;
  // ZeRO-3 gathers and scatters a layer in so many collectives: 1 where a layer is one flat buffer
  // (PyTorch's FSDP), its tensors where each is shared out by itself (DeepSpeed).
  double sharded_pieces = 1;
  // ZeRO-1 and 2 send updated weights member by member, each broadcasting its shard (InternEvo's
  // hybrid_zero_optim). false: by all-gathers of buckets or layers.
  bool broadcast_shards = false;
  friend bool operator==(const Kernels&, const Kernels&) = default;
};

}  // namespace shardwright
