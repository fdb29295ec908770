#include "planner/validate/validate.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

double figure_gib(const RankMemory& memory, MemoryFigure figure) {
  switch (figure) {
    case MemoryFigure::kAllocated:
      return memory.allocated_bytes / kGib;
    case MemoryFigure::kReserved:
      return memory.reserved_bytes / kGib;
    case MemoryFigure::kDevice:
      return memory.device_bytes / kGib;
  }
  return 0;
}

// An allocator that runs short gives back what it holds in reserve, so no run shows more than its
// device has.
double shown_gib(const RankMemory& memory, const RunCase& run) {
  const double gib = figure_gib(memory, run.figure);
  const bool reserve = run.figure != MemoryFigure::kAllocated;
  return reserve ? std::max(std::min(gib, run.capacity_gib), memory.allocated_bytes / kGib) : gib;
}

// FLOPs of the step, with the recomputed forward, at the device's peak, stretched by the pipeline's
// bubble.
std::optional<double> baseline_seconds(const RunCase& run) {
  const bool full = run.plan.recompute == Recompute::kFull;
  const std::optional<double> flops =
      flops_per_token(full ? "hfu" : "full", run.model, run.plan.seq);
  const DeviceProfile& device = run.cluster.devices.begin()->second;
  auto peak = device.peak_flops_per_s.find(run.plan.precision);
  if (peak == device.peak_flops_per_s.end()) {
    peak = device.peak_flops_per_s.find(storage_of(run.plan.precision));
  }
  if (!flops || peak == device.peak_flops_per_s.end()) return std::nullopt;
  const double bubble =
      1 + static_cast<double>(run.plan.pp - 1) /
              static_cast<double>(run.plan.virtual_stages * run.plan.microbatches());
  return static_cast<double>(run.plan.tokens_per_step()) * *flops * bubble /
         (peak->second * static_cast<double>(run.plan.ranks()));
}

class Validator {
 public:
  Validator(const std::string& profiles_dir, RecordTables tables, const TimeModel& time)
      : profiles_dir_(profiles_dir), tables_(std::move(tables)), time_(time) {}

  RowReport report(const RecordRow& row) {
    RowReport out;
    out.id = row.id.empty() ? row.file + ":" + std::to_string(row.line) : row.id;
    out.source = row.source.empty() ? row.file : row.source;
    if (!row.record) {
      out.reason = row.record.error().line();
      return out;
    }
    const Result<RunCase> run = run_case(*row.record, tables_, profiles_dir_);
    if (!run) {
      out.reason = run.error().line();
      return out;
    }
    return predict(*run, std::move(out));
  }

 private:
  RowReport predict(const RunCase& run, RowReport out) {
    out.ok = true;
    out.groups = run.groups;
    out.measured_s = run.measured_s;
    out.measured_mem_gib = run.measured_mem_gib;
    out.measured_oom = run.measured_oom;
    out.reason = !run.no_time.empty() ? run.no_time : !run.weak.empty() ? run.weak : run.no_memory;
    out.apart = !run.weak.empty();
    out.baseline_s = baseline_seconds(run);
    if (const MemoryStack* stack = memory_stack(run, &out)) {
      out.memory = rank_memory({run.model, *stack, run.kernels}, run.plan);
      out.predicted_mem_gib = shown_gib(out.memory, run);
      out.predicted_oom = out.memory.device_bytes / kGib > run.capacity_gib;
    }
    if (time_) predict_time(run, &out);
    return out;
  }

  void predict_time(const RunCase& run, RowReport* out) {
    const Result<TimePrediction> time = time_(run);
    if (!time) {
      if (out->reason.empty()) out->reason = time.error().line();
      return;
    }
    if (!std::isfinite(time->seconds)) return;
    out->predicted_s = time->seconds;
    out->low_s = time->low_s;
    out->high_s = time->high_s;
    out->time_parts = time->parts;
    out->rests_on = time->rests_on;
  }

  const MemoryStack* memory_stack(const RunCase& run, RowReport* out) {
    auto found = stacks_.find(run.memory_stack);
    if (found == stacks_.end()) {
      found = stacks_.emplace(run.memory_stack, load_memory_stack(run.memory_stack, profiles_dir_))
                  .first;
    }
    if (found->second) return &*found->second;
    if (out->reason.empty()) out->reason = found->second.error().line();
    return nullptr;
  }

  std::string profiles_dir_;
  RecordTables tables_;
  const TimeModel& time_;
  std::map<std::string, Result<MemoryStack>> stacks_;
};

// The same run printed twice: sizes, layout and figure agree to all printed digits.
std::string figure_key(const Record& r, double seconds) {
  char text[240];
  std::snprintf(text, sizeof(text), "%lld %lld %lld %lld %lld %lld %lld %s %.4e",
                static_cast<long long>(r.model.layers.value_or(0)),
                static_cast<long long>(r.model.hidden.value_or(0)),
                static_cast<long long>(r.model.seq.value_or(0)),
                static_cast<long long>(r.cluster.gpus),
                static_cast<long long>(r.parallel.tp.value_or(0)),
                static_cast<long long>(r.parallel.pp.value_or(0)),
                static_cast<long long>(r.global_batch.value_or(0)), r.precision.c_str(), seconds);
  return text;
}

void mark_duplicates(const std::vector<RecordRow>& rows, std::vector<RowReport>* reports) {
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < rows.size(); ++i) {
    RowReport& report = (*reports)[i];
    if (!report.ok || !report.measured_s) continue;
    const auto [first, fresh] = seen.emplace(figure_key(*rows[i].record, *report.measured_s), i);
    if (fresh) continue;
    report.apart = true;
    report.reason = "the same figure as " + (*reports)[first->second].id;
  }
}

ErrorStats constant_stats(const std::vector<const RowReport*>& rows) {
  std::vector<double> ratios;
  for (const RowReport* row : rows) {
    if (row->ok && !row->apart && row->measured_s && row->baseline_s) {
      ratios.push_back(*row->measured_s / *row->baseline_s);
    }
  }
  if (ratios.empty()) return {};
  std::vector<double> sorted = ratios;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  const double constant = sorted[sorted.size() / 2];
  std::vector<double> errors;
  for (const double ratio : ratios) errors.push_back(100 * (constant / ratio - 1));
  return error_stats(errors);
}

SetReport summarise(const std::string& name, const std::vector<const RowReport*>& rows) {
  SetReport set;
  set.name = name;
  std::vector<double> time, apart, memory;
  for (const RowReport* row : rows) {
    ++set.rows;
    set.refused += row->ok ? 0 : 1;
    set.apart += row->apart ? 1 : 0;
    if (!row->ok) continue;
    if (const auto error = row->time_error_pct()) {
      (row->apart ? apart : time).push_back(*error);
      if (!row->apart && row->low_s && row->high_s) {
        ++set.with_interval;
        set.in_interval += *row->low_s <= *row->measured_s && *row->measured_s <= *row->high_s;
      }
    }
    if (const auto error = row->memory_error_pct()) memory.push_back(*error);
    if (row->predicted_oom) set.oom.add(*row->predicted_oom, row->measured_oom);
  }
  set.time = error_stats(time);
  set.time_apart = error_stats(apart);
  set.memory = error_stats(memory);
  set.constant = constant_stats(rows);
  return set;
}

std::optional<double> error_pct(std::optional<double> predicted, std::optional<double> measured) {
  if (!predicted || !measured) return std::nullopt;
  return 100 * (*predicted / *measured - 1);
}

}  // namespace

std::optional<double> RowReport::time_error_pct() const {
  return error_pct(predicted_s, measured_s);
}
std::optional<double> RowReport::memory_error_pct() const {
  return error_pct(predicted_mem_gib, measured_mem_gib);
}

Result<Validation> validate(const std::vector<RecordRow>& rows, const std::string& profiles_dir,
                            const TimeModel& time) {
  Result<RecordTables> tables = RecordTables::load(profiles_dir);
  if (!tables) return tables.error();
  Validator validator(profiles_dir, *std::move(tables), time);
  Validation out;
  for (const RecordRow& row : rows) out.rows.push_back(validator.report(row));
  mark_duplicates(rows, &out.rows);
  std::vector<std::string> order;
  std::map<std::string, std::vector<const RowReport*>> sources, groups;
  for (const RowReport& row : out.rows) {
    auto& members = sources[row.source];
    if (members.empty()) order.push_back(row.source);
    members.push_back(&row);
    for (const std::string& group : row.groups) groups[group].push_back(&row);
  }
  for (const std::string& name : order) out.sources.push_back(summarise(name, sources[name]));
  for (const auto& [name, members] : groups) out.groups.push_back(summarise(name, members));
  return out;
}

}  // namespace shardwright
