// SPDX-License-Identifier: Apache-2.0
//
// Where threads meet: barriers and the collectives of a warp.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include "support/simt/block.h"

namespace codegen::simt {
namespace {

std::string Hex(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

int LowestLane(unsigned mask) { return __builtin_ctz(mask); }

}  // namespace

Block::Votes Block::SyncThreads(bool vote, const Stop& stop) {
  const Unobserved unobserved;
  Barrier& barrier = barriers_[0];
  if (!barrier.waiting.empty() && !(barrier.stop.place == stop.place))
    Fail("others wait at " + ToString(barrier.stop.place) + ", not at the same line", stop);
  barrier.votes.ayes += vote ? 1 : 0;
  return Pass(barrier, barrier.votes.threads + 1 == alive_, stop);
}

void Block::SyncNamed(int id, int threads, const Stop& stop) {
  const Unobserved unobserved;
  if (id < 1 || id >= kBarriers)
    Fail("barrier " + std::to_string(id) + " is none of 1 to 15", stop);
  if (threads < kWarpLanes || threads % kWarpLanes != 0)
    Fail(std::to_string(threads) + " threads are no whole warps", stop);
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (!barrier.waiting.empty() && barrier.expected != threads)
    Fail("others wait there for " + std::to_string(barrier.expected) + " threads, not " +
             std::to_string(threads),
         stop);
  barrier.expected = threads;
  Pass(barrier, barrier.votes.threads + 1 == threads, stop);
}

Block::Votes Block::Pass(Barrier& barrier, bool last, const Stop& stop) {
  std::uint64_t* edge = &barrier.edges[barrier.edge];
  barrier.stop = stop;
  ++barrier.votes.threads;
  Release(edge);
  if (last) {
    Open(barrier);
    MixUp();
  } else {
    barrier.waiting.push_back(running_);
    Await(stop);
  }
  Acquire(edge);
  return barrier.outcome;
}

void Block::Open(Barrier& barrier) {
  for (const int thread : barrier.waiting) Wake(thread);
  barrier.waiting.clear();
  barrier.outcome = barrier.votes;
  barrier.votes = {};
  barrier.edge ^= 1;
}

void Block::Meet(unsigned mask, void* argument, void (*finish)(const Lanes&, unsigned),
                 Memory memory, const Stop& stop) {
  const Unobserved unobserved;
  CheckMask(mask, stop);
  Meeting& meeting = Join(mask, stop);
  std::uint64_t* edge = meeting.edge;
  meeting.lanes[static_cast<std::size_t>(lane())] = argument;
  meeting.arrived |= lane_bit();
  if (memory == Memory::kOrdered) Release(edge);
  if (meeting.arrived == mask) {
    finish(meeting.lanes, mask);
    Close(meeting);
    MixUp();
  } else {
    Await(stop);
  }
  if (memory == Memory::kOrdered) Acquire(edge);
}

void Block::CheckMask(unsigned mask, const Stop& stop) {
  if ((mask & lane_bit()) == 0)
    Fail("the mask " + Hex(mask) + " does not name the calling lane", stop);
  if (const unsigned absent = mask & ~warp().alive; absent != 0)
    Fail("the mask " + Hex(mask) + " names lane " + std::to_string(LowestLane(absent)) +
             ", which does not exist or has returned",
         stop);
}

// Meetings of one mask follow each other; meetings of different masks may be open side by side.
Block::Meeting& Block::Join(unsigned mask, const Stop& stop) {
  Warp& own = warp();
  for (Meeting& meeting : own.meetings) {
    if (meeting.mask != mask) continue;
    if (!(meeting.stop.place == stop.place))
      Fail("others of the mask " + Hex(mask) + " wait in " + meeting.stop.function + " at " +
               ToString(meeting.stop.place) + ", not at the same line",
           stop);
    return meeting;
  }
  std::uint64_t* edge = &own.edges[own.next_edge];
  own.next_edge = (own.next_edge + 1) % own.edges.size();
  return own.meetings.emplace_back(Meeting{mask, 0, stop, {}, edge});
}

void Block::Close(Meeting& meeting) {
  const int first = running_ - lane();
  for (int lane = 0; lane < kWarpLanes; ++lane)
    if (lane != this->lane() && (meeting.mask >> lane & 1) != 0) Wake(first + lane);
  std::vector<Meeting>& meetings = warp().meetings;
  meetings.erase(meetings.begin() + (&meeting - meetings.data()));
}

}  // namespace codegen::simt
