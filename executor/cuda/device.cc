#include "executor/cuda/device.h"

#include "costmodel/check.h"

namespace shardwright {

std::string place_name(const std::source_location& place) {
  const std::string path = place.file_name();
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(place.line());
}

void Device::check_outside_step(const char* call) const {
  SW_CHECK(!step_open_, "rank " << rank_ << ": " << call << " within a step");
}

void* Device::allocate(Bytes bytes) {
  check_outside_step("allocate");
  SW_CHECK_GE(bytes, 0, "bytes of device memory");
  return bytes == 0 ? nullptr : do_allocate(bytes);
}
void Device::free(void* block) {
  check_outside_step("free");
  if (block != nullptr) do_free(block);
}
void* Device::allocate_pinned(Bytes bytes) {
  made_in_step_ += step_open_;
  SW_CHECK_GE(bytes, 0, "bytes of pinned memory");
  return bytes == 0 ? nullptr : do_allocate_pinned(bytes);
}
void Device::free_pinned(void* block) {
  made_in_step_ += step_open_;
  if (block != nullptr) do_free_pinned(block);
}
Stream Device::create_stream() {
  check_outside_step("create_stream");
  return do_create_stream();
}
void Device::destroy_stream(Stream stream) {
  check_outside_step("destroy_stream");
  do_destroy_stream(stream);
}
Event Device::create_event(bool timed) {
  made_in_step_ += step_open_;
  return do_create_event(timed);
}
void Device::destroy_event(Event event) {
  made_in_step_ += step_open_;
  do_destroy_event(event);
}
void Device::synchronize() {
  check_outside_step("synchronize");
  do_synchronize();
}
void Device::synchronize(Stream stream) {
  check_outside_step("synchronize(stream)");
  do_synchronize(stream);
}

void Device::open_step() {
  SW_CHECK(!step_open_, "rank " << rank_ << ": a step is open already");
  step_open_ = true;
  made_in_step_ = 0;
}
void Device::close_step() {
  SW_CHECK(step_open_, "rank " << rank_ << ": no step is open");
  step_open_ = false;
}

// Limits of every compute capability since 8.0 (CUDA C++ Programming Guide, "Technical
// Specifications per Compute Capability").
void Device::launch(Stream stream, const Launch& launch) {
  const auto& [gx, gy, gz] = launch.grid;
  const auto& [bx, by, bz] = launch.block;
  const std::string where = place_name(launch.place);
  SW_CHECK(gx >= 1 && gy >= 1 && gz >= 1 && gx <= 0x7fffffffu && gy <= 65535u && gz <= 65535u,
           where << ": grid " << gx << " x " << gy << " x " << gz);
  SW_CHECK(bx >= 1 && by >= 1 && bz >= 1 && bz <= 64 && uint64_t{bx} * by * bz <= 1024,
           where << ": block " << bx << " x " << by << " x " << bz);
  SW_CHECK(launch.shared_bytes >= 0 && launch.shared_bytes <= properties().shared_block_bytes,
           where << ": " << launch.shared_bytes << " bytes of shared memory, the device has "
                 << properties().shared_block_bytes);
  do_launch(stream, launch);
}

}  // namespace shardwright
