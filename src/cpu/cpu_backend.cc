// SPDX-License-Identifier: Apache-2.0
#include "cpu/cpu_backend.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/rotary.h"

namespace codegen::cpu {
namespace {

// Panels that a task takes: as many as are read side by side for so few rows, or in turn for more
// (linear.h), but leaving every thread a few tasks to even out their speeds.
std::int64_t PanelsPerTask(const LinearKernel& kernel, std::int64_t rows, std::int64_t panels,
                           int threads) {
  const bool few = rows <= kernel.few_rows;
  std::int64_t count = few ? kernel.few_panels[static_cast<std::size_t>(rows)] : kernel.task_panels;
  while (count > kPanelGroup && panels < 4 * count * threads) count /= 2;
  return std::max(count, kPanelGroup);
}

LinearArgs Product(Activations activations, const Tensor& x, const Weight& w, backend::Then then,
                   Tensor& y) {
  LinearArgs args{.panels = w.panels.data(),
                  .panel_bytes = w.panel_bytes,
                  .panel_count = (w.outputs + kLine - 1) / kLine,
                  .w_scale = w.scales.as<float>().data(),
                  .bias = w.bias.as<float>().data(),
                  .y = y.row(0),
                  .y_stride = y.stride(),
                  .inputs = w.inputs,
                  .then = then};
  if (activations == Activations::kF32) {
    args.x = reinterpret_cast<const std::byte*>(x.row(0));
    args.x_stride = x.stride() * static_cast<std::int64_t>(sizeof(float));
    return args;
  }
  const NarrowRow first = x.narrow(0);
  args.x = first.elements;
  args.x_stride = x.narrow_stride();
  args.group_sums = reinterpret_cast<const std::byte*>(first.group_sums);
  args.x_scale = reinterpret_cast<const std::byte*>(first.scale);
  args.x_total = reinterpret_cast<const std::byte*>(first.total);
  return args;
}

// The rotations, appends and attentions of one call. Its tasks are (block of rows, head) pairs.
class Attention {
 public:
  Attention(const Kernels& kernels, const Tensor& x, const backend::Rows& rows, KvLayer& kv,
            Tensor& y)
      : kernels_(kernels), x_(x), rows_(rows), heads_(kv.heads), kv_(kv), y_(y) {}

  // k and v of `row` and head into their page. `scratch`: that of the thread.
  void Append(std::int64_t sequence, std::int64_t row, int head, float* scratch) {
    const std::int32_t position = rows_.positions[Index(row)];
    const std::int64_t slot = position % backend::kPageTokens;
    const std::int64_t page = PagesOf(sequence)[position / backend::kPageTokens];
    const float* k = x_.row(row) + Width() + std::int64_t{head} * heads_.dim;
    const float* v = k + Width();
    kernels_.rotate(k, heads_, kv_.rotary->at(position), scratch);
    kv_.kernels->append_key(scratch, heads_.dim, slot, Keys(head) + page * kv_.page_bytes());
    kv_.kernels->append_value(v, heads_.dim, slot, Values(head) + page * kv_.page_bytes());
  }

  // The first row from `row` on that may be appended apart from the one before it: values of two
  // positions share their memory.
  std::int64_t PairStart(std::int64_t row) const {
    return row > 0 && row < rows_.size() && rows_.positions[Index(row)] % 2 != 0 ? row + 1 : row;
  }

  // Rows [first, last) of `sequence`, at most attend_rows of the kernels.
  void Attend(std::int64_t sequence, std::int64_t first, std::int64_t last, int head,
              float* scratch) {
    CODEGEN_DCHECK(last - first <= kv_.kernels->attend_rows);
    const std::int64_t stride = RoundUpToLine(heads_.dim);
    for (std::int64_t row = first; row < last; ++row)
      kernels_.rotate(x_.row(row) + std::int64_t{head} * heads_.dim, heads_,
                      kv_.rotary->at(rows_.positions[Index(row)]),
                      scratch + (row - first) * stride);
    kv_.kernels->attend({.q = scratch,
                         .keys = Keys(head),
                         .values = Values(head),
                         .page_bytes = kv_.page_bytes(),
                         .pages = PagesOf(sequence),
                         .first_position = rows_.positions[Index(first)],
                         .rows = last - first,
                         .dim = heads_.dim,
                         .o = scratch + kAttendRows * stride,
                         .y = y_.row(first) + std::int64_t{head} * heads_.dim,
                         .y_stride = y_.stride()});
  }

  bool OneRowEach() const {
    const auto& starts = rows_.first_row;
    for (std::size_t s = 0; s < starts.size(); ++s)
      if (starts[s] != static_cast<std::int32_t>(s)) return false;
    return true;
  }

  // Calls visit(sequence, first, last) for the stretches of rows [first, last) that belong to one
  // sequence.
  template <class Visit>
  void ForEachStretch(std::int64_t first, std::int64_t last, const Visit& visit) const {
    const auto& starts = rows_.first_row;
    auto next = std::upper_bound(starts.begin(), starts.end(), first);
    while (first < last) {
      const std::int64_t end = std::min<std::int64_t>(last, *next);
      if (end > first) visit((next - starts.begin()) - 1, first, end);
      first = end;
      ++next;
    }
  }

 private:
  static std::size_t Index(std::int64_t i) { return static_cast<std::size_t>(i); }
  std::int64_t Width() const { return std::int64_t{heads_.count} * heads_.dim; }
  const std::int32_t* PagesOf(std::int64_t sequence) const {
    return rows_.pages.data() + rows_.first_page[Index(sequence)];
  }
  std::byte* Keys(int head) { return kv_.buffer.data() + head * (kv_.key_bytes + kv_.value_bytes); }
  std::byte* Values(int head) { return Keys(head) + kv_.key_bytes; }

  const Kernels& kernels_;
  const Tensor& x_;
  const backend::Rows& rows_;
  const backend::Heads& heads_;
  KvLayer& kv_;
  Tensor& y_;
};

// Queries that share a pass over the pages: many for speed, few if threads would stand idle.
std::int64_t RowsPerBlock(std::int64_t rows, int heads, int threads, std::int64_t most) {
  return std::clamp<std::int64_t>(rows * heads / (std::int64_t{4} * threads), 1, most);
}

}  // namespace

void CpuBackend::ForEachRow(std::int64_t rows, std::int64_t cost,
                            absl::FunctionRef<void(std::int64_t t)> work) {
  constexpr std::int64_t kTaskFloats = 8192;  // a few microseconds
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, kTaskFloats / cost);
  pool_.ParallelFor((rows + rows_per_task - 1) / rows_per_task, [&](std::int64_t task) {
    const std::int64_t last = std::min(rows, (task + 1) * rows_per_task);
    for (std::int64_t t = task * rows_per_task; t < last; ++t) work(t);
  });
}

void CpuBackend::Embed(std::span<const TokenId> tokens, const Embedding& e, Tensor& y) {
  CODEGEN_DCHECK(y.rows() == static_cast<std::int64_t>(tokens.size()));
  CODEGEN_DCHECK(y.columns() == e.columns);
  ForEachRow(y.rows(), e.columns, [&](std::int64_t t) {
    const std::int64_t token = tokens[static_cast<std::size_t>(t)];
    CODEGEN_DCHECK(token >= 0 && token < e.rows);
    const std::byte* row = e.elements.data() + token * e.row_bytes;
    switch (e.format) {
      case WeightFormat::kBf16:
        return kernels_.widen_bf16(row, e.columns, y.row(t));
      case WeightFormat::kF16:
        return kernels_.widen_f16(row, e.columns, y.row(t));
      case WeightFormat::kInt8:
        return kernels_.widen_int8(row, e.scales.as<float>()[static_cast<std::size_t>(token)],
                                   e.columns, y.row(t));
      default:
        return kernels_.widen_f32(row, e.columns, y.row(t));
    }
  });
}

void CpuBackend::LayerNorm(const Tensor& x, const Norm& n, Tensor& y) {
  CODEGEN_DCHECK(x.rows() == y.rows() && x.columns() == n.columns && y.columns() == n.columns);
  ForEachRow(x.rows(), n.columns, [&](std::int64_t t) {
    kernels_.layer_norm({.x = x.row(t),
                         .gain = n.gain.as<float>().data(),
                         .bias = n.bias.as<float>().data(),
                         .columns = n.columns,
                         .epsilon = n.epsilon,
                         .y = y.row(t)});
  });
}

void CpuBackend::RmsNorm(const Tensor& x, const Norm& n, Tensor& y) {
  CODEGEN_DCHECK(x.rows() == y.rows() && x.columns() == n.columns && y.columns() == n.columns);
  ForEachRow(x.rows(), n.columns, [&](std::int64_t t) {
    kernels_.rms_norm({.x = x.row(t),
                       .gain = n.gain.as<float>().data(),
                       .columns = n.columns,
                       .epsilon = n.epsilon,
                       .y = y.row(t)});
  });
}

void CpuBackend::Narrow(const Tensor& x, Activations activations) {
  if (activations == Activations::kF32) return;
  const auto narrow =
      activations == Activations::kBf16 ? kernels_.narrow_to_bf16 : kernels_.narrow_to_int8;
  ForEachRow(x.rows(), x.columns(),
             [&](std::int64_t t) { narrow(x.row(t), x.columns(), x.narrow(t)); });
}

void CpuBackend::Linear(const Tensor& x, const Weight& w, backend::Then then, Tensor& y) {
  CODEGEN_DCHECK(x.rows() == y.rows() && x.columns() == w.inputs && y.columns() == w.outputs);
  const LinearKernel& kernel = device_.KernelFor(w.format);
  Narrow(x, kernel.activations);
  const LinearArgs args = Product(kernel.activations, x, w, then, y);
  const std::int64_t panels = args.panel_count;
  const std::int64_t width = PanelsPerTask(kernel, x.rows(), panels, pool_.threads());
  const std::int64_t slabs = (x.rows() + kernel.slab_rows - 1) / kernel.slab_rows;
  // Slabs of the same panels follow each other: they find the panels in the L3 cache.
  pool_.ParallelFor((panels + width - 1) / width * slabs, [&](std::int64_t task) {
    const std::int64_t panel = task / slabs * width;
    const std::int64_t slab = task % slabs;
    RunLinear(kernel, args,
              {.first_panel = panel,
               .last_panel = std::min(panel + width, panels),
               .first_row = x.rows() * slab / slabs,
               .last_row = x.rows() * (slab + 1) / slabs});
  });
}

void CpuBackend::Attend(const Tensor& x, const backend::Rows& rows, const backend::Heads& heads,
                        KvLayer& kv, Tensor& y) {
  CODEGEN_DCHECK(x.rows() == rows.size() && y.rows() == rows.size());
  CODEGEN_DCHECK(heads.count == kv.heads.count && heads.dim == kv.heads.dim);
  CODEGEN_DCHECK(y.columns() == std::int64_t{heads.count} * heads.dim);
  CODEGEN_DCHECK(x.columns() == 3 * y.columns());
  Attention attention(kernels_, x, rows, kv, y);
  const int count = heads.count;
  const std::int64_t height =
      RowsPerBlock(rows.size(), count, pool_.threads(), kv.kernels->attend_rows);
  const std::int64_t blocks = (rows.size() + height - 1) / height;
  const auto scratch_of = [&](int worker) {
    return kv.scratch.as<float>().data() + worker * kv.scratch_floats;
  };
  const auto append = [&](std::int64_t first, std::int64_t last, int head, float* scratch) {
    attention.ForEachStretch(first, last,
                             [&](std::int64_t sequence, std::int64_t begin, std::int64_t end) {
                               for (std::int64_t row = begin; row < end; ++row)
                                 attention.Append(sequence, row, head, scratch);
                             });
  };
  const auto attend = [&](std::int64_t block, int head, int worker) {
    const std::int64_t first = block * height;
    const std::int64_t last = std::min(first + height, rows.size());
    attention.ForEachStretch(first, last,
                             [&](std::int64_t sequence, std::int64_t begin, std::int64_t end) {
                               attention.Attend(sequence, begin, end, head, scratch_of(worker));
                             });
  };
  if (attention.OneRowEach()) {  // no task reads what another appends
    pool_.ParallelForWorkers(blocks * count, [&](std::int64_t task, int worker) {
      const std::int64_t first = task / count * height;
      const auto head = static_cast<int>(task % count);
      append(first, std::min(first + height, rows.size()), head, scratch_of(worker));
      attend(task / count, head, worker);
    });
    return;
  }
  // A page at a time, which stays in the L1 cache while its columns are written.
  constexpr std::int64_t kRowsPerAppend = backend::kPageTokens;
  const std::int64_t stretches = (rows.size() + kRowsPerAppend - 1) / kRowsPerAppend;
  pool_.ParallelForWorkers(stretches * count, [&](std::int64_t task, int worker) {
    const std::int64_t first = task / count * kRowsPerAppend;
    append(attention.PairStart(first),
           attention.PairStart(std::min(first + kRowsPerAppend, rows.size())),
           static_cast<int>(task % count), scratch_of(worker));
  });
  // Blocks of a head follow each other: they find its pages in the L2 cache.
  pool_.ParallelForWorkers(blocks * count, [&](std::int64_t task, int worker) {
    attend(task % blocks, static_cast<int>(task / blocks), worker);
  });
}

void CpuBackend::SwiGlu(const Tensor& x, Tensor& y) {
  CODEGEN_DCHECK(x.rows() == y.rows() && x.columns() == 2 * y.columns());
  ForEachRow(x.rows(), x.columns(), [&](std::int64_t t) {
    kernels_.swiglu(x.row(t), x.row(t) + y.columns(), y.columns(), y.row(t));
  });
}

void CpuBackend::Add(const Tensor& x, Tensor& y) {
  CODEGEN_DCHECK(x.rows() == y.rows() && x.columns() == y.columns());
  ForEachRow(x.rows(), x.columns(),
             [&](std::int64_t t) { kernels_.add(x.row(t), x.columns(), y.row(t)); });
}

// The tensors of all ranks have one outline, so their threads share the work: not those of the
// pool, as a step of decoding sums a few kilobytes.
void CpuBackend::AllReduce(Tensor& y) {
  if (communicator_ != nullptr && failure_.ok())
    failure_ = communicator_->AllReduce({y.row(0), y.rows(), y.columns(), y.stride()});
}

const Tensor& CpuBackend::AllGather(const Tensor& x, Tensor& y) {
  if (communicator_ == nullptr) return x;
  CODEGEN_DCHECK(x.rows() == y.rows());
  if (failure_.ok()) {
    failure_ = communicator_->AllGather({x.row(0), x.rows(), x.columns(), x.stride()},
                                        {y.row(0), y.rows(), y.columns(), y.stride()});
  }
  return y;
}

void CpuBackend::Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y) {
  CODEGEN_DCHECK(y.rows() == static_cast<std::int64_t>(rows.size()));
  CODEGEN_DCHECK(x.columns() == y.columns());
  ForEachRow(y.rows(), x.columns(), [&](std::int64_t t) {
    std::copy_n(x.row(rows[static_cast<std::size_t>(t)]), x.columns(), y.row(t));
  });
}

void CpuBackend::Sample(const Tensor& x, std::span<const backend::Sampling> sampling,
                        std::span<backend::SampledToken> tokens) {
  CODEGEN_DCHECK(sampling.size() == tokens.size());
  CODEGEN_DCHECK(x.rows() == static_cast<std::int64_t>(tokens.size()));
  ForEachRow(x.rows(), x.columns(), [&](std::int64_t t) {
    const auto i = static_cast<std::size_t>(t);
    const std::span<const float> logits(x.row(t), static_cast<std::size_t>(x.columns()));
    tokens[i] = backend::SampleRow(logits, sampling[i]);
  });
}

}  // namespace codegen::cpu
