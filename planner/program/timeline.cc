#include "planner/program/timeline.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace shardwright {

Nanoseconds Timeline::makespan() const {
  Nanoseconds end = 0;
  for (const RankTimeline& rank : ranks) {
    for (const EventTime& event : rank.events) end = std::max(end, event.end);
  }
  return end;
}

Bytes Timeline::peak_bytes() const {
  Bytes peak = 0;
  for (const RankTimeline& rank : ranks) peak = std::max(peak, rank.peak_bytes);
  return peak;
}

double Timeline::idle_share(const Program& program) const {
  const Nanoseconds total = makespan() * static_cast<Nanoseconds>(ranks.size());
  if (total == 0) return 0;
  Nanoseconds busy = 0;
  for (size_t at = 0; at < ranks.size(); ++at) {
    for (size_t i = 0; i < ranks[at].events.size(); ++i) {
      if (program.ranks[at].instructions[i].lane != Lane::kCompute) continue;
      busy += ranks[at].events[i].duration();
    }
  }
  return 1.0 - static_cast<double>(busy) / static_cast<double>(total);
}

std::vector<Readiness::Mismatch> check_order(const Program& program, const Readiness& rule,
                                             const Timeline& timeline) {
  std::vector<Readiness::Mismatch> early;
  for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
    const auto& events = timeline.ranks[at].events;
    for (int i = 0; i < static_cast<int>(events.size()); ++i) {
      rule.for_each_before({at, i}, [&](Ref before) {
        const EventTime& other = timeline.ranks[before.at].events[before.index];
        const bool local = before.at == at;
        const Nanoseconds by = local ? other.end - events[i].start : other.start - events[i].end;
        if (by <= 0) return;
        early.push_back({{at, i}, "ran " + std::to_string(by) + " ns before its turn"});
      });
    }
  }
  return early;
}

Json to_json(const Timeline& timeline) {
  Json ranks = Json::array();
  for (const RankTimeline& rank : timeline.ranks) {
    Json events = Json::array();
    for (const EventTime& event : rank.events) {
      events.push_back(Json::array({event.start, event.end, event.steps}));
    }
    ranks.push_back({{"rank", rank.rank},
                     {"peak_bytes", rank.peak_bytes},
                     {"peak_index", rank.peak_index},
                     {"events", std::move(events)}});
  }
  return {{"schema", "shardwright.timeline/1"}, {"ranks", std::move(ranks)}};
}

namespace {

constexpr int64_t kLongest = int64_t{1} << 60;

bool is_time(const Json& value) {
  return value.is_number_integer() && value.get<double>() >= 0 &&
         value.get<double>() <= static_cast<double>(kLongest);
}

bool read_event(const Json& json, EventTime* event) {
  if (!json.is_array() || json.size() != 3 || !is_time(json[0]) || !is_time(json[1]) ||
      !json[2].is_array()) {
    return false;
  }
  event->start = json[0].get<Nanoseconds>();
  event->end = json[1].get<Nanoseconds>();
  for (const Json& step : json[2]) {
    if (!is_time(step)) return false;
    event->steps.push_back(step.get<Nanoseconds>());
  }
  return event->end >= event->start;
}

}  // namespace

Result<Timeline> read_timeline(const Json& json, const std::string& file) {
  Timeline timeline;
  Fields top(json, file);
  if (top.text("schema") != "shardwright.timeline/1" && !top.error()) {
    top.fail("schema", quote(json["schema"]), "\"shardwright.timeline/1\"");
  }
  const Json& ranks = top.array("ranks");
  if (top.finish()) return *top.finish();
  for (size_t at = 0; at < ranks.size(); ++at) {
    const std::string prefix = "ranks[" + std::to_string(at) + "].";
    if (!ranks[at].is_object()) return Error{file, prefix, quote(ranks[at]), "an object"};
    Fields fields(ranks[at], file, prefix);
    RankTimeline rank;
    rank.rank = static_cast<int>(fields.integer("rank", 0, 1 << 24));
    rank.peak_bytes = fields.integer("peak_bytes", 0, kLongest);
    rank.peak_index = static_cast<int>(fields.integer("peak_index", -1, 1 << 28));
    for (const Json& event : fields.array("events")) {
      rank.events.emplace_back();
      if (!read_event(event, &rank.events.back())) {
        fields.fail("events", quote(event), "[start_ns, end_ns, [step_ns...]]");
        break;
      }
    }
    if (fields.finish()) return *fields.finish();
    timeline.ranks.push_back(std::move(rank));
  }
  return timeline;
}

}  // namespace shardwright
