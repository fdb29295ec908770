#include "planner/program/program_text.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>
#include <type_traits>

#include "costmodel/json.h"

namespace shardwright {
namespace {

// Calls each(label, field of a, field of b) for what is printed only where it is not the default.
template <typename Chunk, typename Each>
void for_each_option(Chunk& a, const ChunkInfo& b, Each&& each) {
  each("stage", a.stage, b.stage);
  each("cp", a.split.cp, b.split.cp);
  each("cp_kind", a.split.cp_kind, b.split.cp_kind);
  each("ep", a.split.ep, b.split.ep);
  each("etp", a.split.etp, b.split.etp);
  each("sequence_parallel", a.split.sequence_parallel, b.split.sequence_parallel);
  each("recompute_layers", a.recompute_layers, b.recompute_layers);
  each("recompute_modules", a.recompute_modules, b.recompute_modules);
  each("mtp_layers", a.mtp_layers, b.mtp_layers);
  each("split_backward", a.split_backward, b.split_backward);
  each("operands", a.operands, b.operands);
  each("deferred", a.deferred, b.deferred);
}

void print_chunk(std::ostream& out, size_t index, const ChunkInfo& c) {
  out << "chunk " << index << " layers " << c.first_layer << ' ' << c.num_layers << " embedding "
      << c.embedding << " head " << c.head << " recompute " << c.recompute << " tp " << c.tp
      << " micro_batch " << c.micro_batch << " seq " << c.seq << " type " << name_of(c.type)
      << " persistent " << c.persistent << " scratch " << c.scratch << " saved " << c.saved
      << " message " << c.message << " tokens " << c.tokens;
  // The rest only where it is not the default: most programs have none of it.
  ChunkInfo defaults;
  defaults.stage = static_cast<int>(index);
  for_each_option(c, defaults, [&](const char* label, const auto& value, const auto& usual) {
    if (value != usual) out << ' ' << label << ' ' << static_cast<int64_t>(value);
  });
  out << '\n';
}

void print_state(std::ostream& out, const Program& program) {
  const StateInfo& s = program.state;
  if (program.cp != 1) out << " cp " << program.cp;
  if (!program.replica_microbatches.empty()) {
    out << " of";
    for (int count : program.replica_microbatches) out << ' ' << count;
  }
  if (program.rank_order != RankOrder::kTpCpDpPp) out << " order " << name_of(program.rank_order);
  if (s == StateInfo()) return;
  out << " zero " << s.zero << " shards " << s.shards << ' ' << s.expert_shards << " gradients "
      << name_of(s.gradient_type) << " moments " << name_of(s.moment_type) << " offload "
      << Json(s.offload).dump();
}

// Reads one line word by word and remembers the first thing that was not as expected.
class Line {
 public:
  explicit Line(const std::string& text) : in_(text) {}

  std::string word() {
    std::string next;
    if (!(in_ >> next)) fail("another word", "end of line");
    return next;
  }
  bool done() { return (in_ >> std::ws).eof(); }
  void literal(const std::string& expected) {
    const std::string found = word();
    if (found != expected) fail("'" + expected + "'", found);
  }
  int64_t number(int64_t high = int64_t{1} << 60) { return number_in(word(), high); }
  int64_t number_in(const std::string& text, int64_t high = int64_t{1} << 60) {
    int64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || value < 0 || value > high) {
      fail("a whole number up to " + std::to_string(high), text);
      return 0;
    }
    return value;
  }
  int64_t labelled(const std::string& label, int64_t high = int64_t{1} << 60) {
    literal(label);
    return number(high);
  }
  void fail(const std::string& expected, const std::string& found) {
    if (expected_.empty()) {
      expected_ = expected;
      found_ = found.substr(0, 40);
    }
  }
  bool ok() const { return expected_.empty(); }
  const std::string& expected() const { return expected_; }
  const std::string& found() const { return found_; }

 private:
  std::istringstream in_;
  std::string expected_, found_;
};

constexpr int64_t kMaxSmall = 1 << 28, kMaxBytes = int64_t{1} << 60;

DataType parse_type(Line& line) {
  DataType type = DataType::kFp32;
  const std::string name = line.word();
  if (!parse_data_type(name, &type)) line.fail("a data type", name);
  return type;
}

void parse_state(Line& line, StateInfo* state) {
  state->zero = static_cast<int>(line.number(3));
  state->shards = static_cast<int>(line.labelled("shards", kMaxSmall));
  state->expert_shards = static_cast<int>(line.number(kMaxSmall));
  line.literal("gradients");
  state->gradient_type = parse_type(line);
  line.literal("moments");
  state->moment_type = parse_type(line);
  line.literal("offload");
  const std::string share = line.word();
  const auto [end, code] =
      std::from_chars(share.data(), share.data() + share.size(), state->offload);
  const bool whole = code == std::errc() && end == share.data() + share.size();
  if (!whole || !(state->offload >= 0 && state->offload <= 1)) line.fail("0 to 1", share);
  if (state->shards < 1 || state->expert_shards < 1) line.fail("at least 1 shard", "0");
}

void parse_header(Line& line, Program* program) {
  line.literal("shardwright.program/1");
  line.literal("messages");
  const std::string mode = line.word();
  if (mode != "posted" && mode != "rendezvous") line.fail("posted or rendezvous", mode);
  program->messages = mode == "posted" ? MessageMode::kPosted : MessageMode::kRendezvous;
  program->world = static_cast<int>(line.labelled("world", kMaxSmall));
  program->microbatches = static_cast<int>(line.labelled("microbatches", kMaxSmall));
  program->replicas = static_cast<int>(line.labelled("replicas", kMaxSmall));
  program->tied = line.labelled("tied", 1) != 0;
  std::string label = line.done() ? "" : line.word();
  if (label == "cp") {
    program->cp = static_cast<int>(line.number(kMaxSmall));
    if (program->cp < 1) line.fail("at least 1", "0");
    label = line.done() ? "" : line.word();
  }
  if (label == "of") {
    for (int i = 0; i < program->replicas && line.ok(); ++i) {
      program->replica_microbatches.push_back(static_cast<int>(line.number(kMaxSmall)));
    }
    label = line.done() ? "" : line.word();
  }
  if (label == "order") {
    const std::string order = line.word();
    if (!parse_rank_order(order, &program->rank_order)) line.fail("an order of axes", order);
    label = line.done() ? "" : line.word();
  }
  if (label.empty()) return;
  if (label != "zero") return line.fail("cp, of, order, zero or end of line", label);
  parse_state(line, &program->state);
}

void parse_options(Line& line, ChunkInfo* c) {
  while (line.ok() && !line.done()) {
    const std::string label = line.word();
    bool known = false;
    for_each_option(*c, *c, [&](const char* option, auto& value, const auto&) {
      if (label != option) return;
      known = true;
      using Value = std::decay_t<decltype(value)>;
      const bool flag = std::is_same_v<Value, bool> || std::is_enum_v<Value>;
      const bool bytes = std::is_same_v<Value, Bytes>;
      value = static_cast<Value>(line.number(flag ? 1 : bytes ? kMaxBytes : kMaxSmall));
    });
    if (!known) line.fail("an option of a chunk", label);
  }
  if (c->split.cp < 1 || c->split.ep < 1) line.fail("cp and ep of at least 1", "0");
}

void parse_chunk(Line& line, Program* program) {
  ChunkInfo c;
  if (line.number(kMaxSmall) != static_cast<int64_t>(program->chunks.size())) {
    line.fail("chunks numbered from 0", "another number");
  }
  c.first_layer = static_cast<int>(line.labelled("layers", kMaxSmall));
  c.num_layers = static_cast<int>(line.number(kMaxSmall));
  c.embedding = line.labelled("embedding", 1) != 0;
  c.head = line.labelled("head", 1) != 0;
  c.recompute = line.labelled("recompute", 1) != 0;
  c.tp = static_cast<int>(line.labelled("tp", kMaxSmall));
  c.micro_batch = static_cast<int>(line.labelled("micro_batch", kMaxSmall));
  c.seq = static_cast<int>(line.labelled("seq", kMaxSmall));
  line.literal("type");
  c.type = parse_type(line);
  c.persistent = line.labelled("persistent");
  c.scratch = line.labelled("scratch");
  c.saved = line.labelled("saved");
  c.message = line.labelled("message");
  c.tokens = line.labelled("tokens");
  c.stage = static_cast<int>(program->chunks.size());
  parse_options(line, &c);
  program->chunks.push_back(c);
}

void parse_group(Line& line, Program* program) {
  GroupInfo group;
  if (line.number(kMaxSmall) != static_cast<int64_t>(program->groups.size())) {
    line.fail("groups numbered from 0", "another number");
  }
  const std::string axis = line.word();
  if (!parse_axis(axis, &group.axis)) line.fail("an axis", axis);
  group.first = static_cast<int>(line.labelled("first", kMaxSmall));
  group.stride = static_cast<int>(line.labelled("stride", kMaxSmall));
  group.size = static_cast<int>(line.labelled("size", kMaxSmall));
  if (group.stride < 1 || group.size < 1) line.fail("stride and size of at least 1", "0");
  if (line.ok() && !line.done()) {
    group.run = static_cast<int>(line.labelled("run", kMaxSmall));
    group.jump = static_cast<int>(line.labelled("jump", kMaxSmall));
    const bool runs =
        group.run >= 1 && group.size % group.run == 0 && group.jump / group.stride >= group.run;
    if (!runs) line.fail("a run that divides the size and ends before the jump", "another");
  }
  program->groups.push_back(group);
}

void parse_rank(Line& line, Program* program) {
  RankProgram rank;
  rank.rank = static_cast<int>(line.number(kMaxSmall));
  rank.tp = static_cast<int>(line.labelled("tp", kMaxSmall));
  rank.dp = static_cast<int>(line.labelled("dp", kMaxSmall));
  rank.stage = static_cast<int>(line.labelled("stage", kMaxSmall));
  if (!line.done()) rank.cp = static_cast<int>(line.labelled("cp", kMaxSmall));
  if (!program->ranks.empty() && program->ranks.back().rank >= rank.rank) {
    line.fail("ranks in ascending order", std::to_string(rank.rank));
  }
  program->ranks.push_back(std::move(rank));
}

template <typename Enum>
bool parse_name(const std::string& name, Enum* out) {
  for (int i = 0; i < static_cast<int>(Enum::kCount); ++i) {
    if (name != name_of(static_cast<Enum>(i))) continue;
    *out = static_cast<Enum>(i);
    return true;
  }
  return false;
}

void parse_instruction(Line& line, const std::string& index, Program* program) {
  if (program->ranks.empty()) return line.fail("a rank line first", index);
  auto& list = program->ranks.back().instructions;
  if (line.number_in(index) != static_cast<int64_t>(list.size())) {
    line.fail("instruction " + std::to_string(list.size()), index);
  }
  Instruction next;
  const std::string op = line.word();
  if (!parse_name(op, &next.op)) line.fail("an instruction", op);
  std::string word = line.word();
  for (; line.ok() && word[0] != '@'; word = line.word()) {
    if (word == "peer") {
      next.peer = static_cast<int>(line.number(kMaxSmall));
    } else if (word == "group") {
      next.group = static_cast<int>(line.number(kMaxSmall));
    } else if (word[0] == 'c') {
      next.chunk = static_cast<int>(line.number_in(word.substr(1), kMaxSmall));
    } else if (word[0] == 'm') {
      next.microbatch = static_cast<int>(line.number_in(word.substr(1), kMaxSmall));
    } else {
      line.fail("c<chunk>, m<microbatch>, peer, group or @lane", word);
    }
  }
  if (line.ok() && !parse_name(word.substr(1), &next.lane)) line.fail("a lane", word);
  if (line.ok() && !line.done()) {
    line.literal("wait");
    while (line.ok() && !line.done()) {
      const int wait = static_cast<int>(line.number(kMaxSmall));
      if (next.waits.size() == WaitList::kCapacity) {
        line.fail("at most " + std::to_string(WaitList::kCapacity) + " waits", "more");
      } else {
        next.waits.push_back(wait);
      }
    }
  }
  list.push_back(std::move(next));
}

void parse_line(Line& line, bool first, Program* program) {
  if (first) return parse_header(line, program);
  const std::string head = line.word();
  if (head == "chunk") return parse_chunk(line, program);
  if (head == "group") return parse_group(line, program);
  if (head == "rank") return parse_rank(line, program);
  parse_instruction(line, head, program);
}

}  // namespace

std::string print_instruction(int index, const Instruction& instruction) {
  std::string text = std::to_string(index) + " " + label_of(instruction);
  if (instruction.peer >= 0) text += " peer " + std::to_string(instruction.peer);
  if (instruction.group >= 0) text += " group " + std::to_string(instruction.group);
  text.append(" @").append(name_of(instruction.lane));
  if (!instruction.waits.empty()) text += " wait";
  for (int wait : instruction.waits) text.append(" ").append(std::to_string(wait));
  return text;
}

std::string print_program(const Program& program) {
  std::ostringstream out;
  out << "shardwright.program/1 messages "
      << (program.messages == MessageMode::kPosted ? "posted" : "rendezvous") << " world "
      << program.world << " microbatches " << program.microbatches << " replicas "
      << program.replicas << " tied " << program.tied;
  print_state(out, program);
  out << '\n';
  for (size_t i = 0; i < program.chunks.size(); ++i) print_chunk(out, i, program.chunks[i]);
  for (size_t i = 0; i < program.groups.size(); ++i) {
    const GroupInfo& g = program.groups[i];
    out << "group " << i << ' ' << name_of(g.axis) << " first " << g.first << " stride " << g.stride
        << " size " << g.size;
    if (g.run > 0) out << " run " << g.run << " jump " << g.jump;
    out << '\n';
  }
  for (const RankProgram& rank : program.ranks) {
    out << "rank " << rank.rank << " tp " << rank.tp << " dp " << rank.dp << " stage "
        << rank.stage;
    if (rank.cp != 0) out << " cp " << rank.cp;
    out << '\n';
    for (size_t i = 0; i < rank.instructions.size(); ++i) {
      out << print_instruction(static_cast<int>(i), rank.instructions[i]) << '\n';
    }
  }
  return out.str();
}

Result<Program> parse_program(const std::string& text, const std::string& file) {
  Program program;
  std::istringstream in(text);
  std::string row;
  int number = 0;
  while (std::getline(in, row)) {
    ++number;
    Line line(row);
    parse_line(line, number == 1, &program);
    if (line.ok() && !line.done()) line.fail("end of line", "more words");
    if (!line.ok()) {
      return Error{file, "line " + std::to_string(number), "'" + line.found() + "'",
                   line.expected()};
    }
  }
  if (number == 0) return Error{file, "line 1", "an empty file", "shardwright.program/1"};
  return program;
}

}  // namespace shardwright
