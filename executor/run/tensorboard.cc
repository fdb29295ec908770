#include "executor/run/tensorboard.h"

#include <array>
#include <cstring>

namespace shardwright {
namespace {

constexpr uint32_t kCastagnoli = 0x82F63B78;  // reflected polynomial
constexpr uint32_t kMaskDelta = 0xA282EAD8;   // record_writer.h

std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ kCastagnoli : crc >> 1;
    table[i] = crc;
  }
  return table;
}

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string masked_crc(const std::string& data) {
  const uint32_t crc = crc32c(data);
  return raw((crc >> 15 | crc << 17) + kMaskDelta);
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value % 128 + 128);
  return bytes + static_cast<char>(value);
}

// Protobuf wire types: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
std::string field(int number, int type, const std::string& payload) {
  const std::string key = varint(static_cast<uint64_t>(number * 8 + type));
  return key + (type == 2 ? varint(payload.size()) : "") + payload;
}

}  // namespace

uint32_t crc32c(const std::string& data) {
  static const std::array<uint32_t, 256> table = make_table();
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : data) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(byte)) & 255];
  return ~crc;
}

TensorBoardFile::TensorBoardFile(const std::string& folder, double wall_time)
    : out_(folder + "/events.out.tfevents." + std::to_string(static_cast<int64_t>(wall_time)) +
               ".shardwright",
           std::ios::binary | std::ios::app) {
  record(field(1, 1, raw(wall_time)) + field(3, 2, "brain.Event:2"));
}

void TensorBoardFile::scalars(int64_t step, double wall_time,
                              const std::vector<std::pair<std::string, float>>& values) {
  std::string summary;
  for (const auto& [tag, value] : values) {
    summary += field(1, 2, field(1, 2, tag) + field(2, 5, raw(value)));
  }
  record(field(1, 1, raw(wall_time)) + field(2, 0, varint(static_cast<uint64_t>(step))) +
         field(5, 2, summary));
}

void TensorBoardFile::record(const std::string& data) {
  const std::string length = raw(static_cast<uint64_t>(data.size()));
  out_ << length << masked_crc(length) << data << masked_crc(data) << std::flush;
}

}  // namespace shardwright
