# Bugs for the simulation to find. Each is a text of the scheduler or the key-value memory and what stands there instead
# while that bug is active; the shipped sources know nothing of it. plant_bugs() writes copies of the sources in which
# both stand, chosen by planted::active, so that one program holds all bugs. A text that is not found exactly once is an
# error: who changes the sources sees at once which bug has lost its place.

# plant(NAME FILE ORIGINAL MUTANT): a bug; again with the same name, another place of it. A text that ends in ; or } is
# statements, any other an expression.
macro(plant name file original mutant)
  if(NOT "${name}" IN_LIST planted_names)
    list(APPEND planted_names "${name}")
  endif()
  list(FIND planted_names "${name}" number)
  string(FIND "${planted_${file}}" "${original}" at)
  string(FIND "${planted_${file}}" "${original}" last REVERSE)
  if(at EQUAL -1 OR NOT at EQUAL last)
    message(FATAL_ERROR "planted bug '${name}': not found exactly once in ${file}:\n${original}")
  endif()
  if("${original}" MATCHES "[;}]$")
    set(both "if (::planted::active == ${number}) {\n${mutant}\n} else {\n${original}\n}")
  else()
    set(both "(::planted::active == ${number} ? (${mutant}) : (${original}))")
  endif()
  string(REPLACE "${original}" "${both}" planted_${file} "${planted_${file}}")
endmacro()

# plant_bugs(SOURCES): writes the copies and planted_names.inc below the build folder, and names the copies.
function(plant_bugs sources)
  set(planted_names "")
  set(files runtime/batch_policy runtime/scheduler runtime/step_plan kv/block_pool kv/paged_memory kv/prefix_cache)
  foreach(file IN LISTS files)
    file(READ ${PROJECT_SOURCE_DIR}/src/${file}.cc planted_${file})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${file}.cc)
  endforeach()

  plant("frees before the fence" runtime/scheduler
    "  memory_.Release(sequence.table, step_);\n  running_.erase(std::ranges::find(running_, &sequence));"
    "  memory_.Release(sequence.table, 0);\n  running_.erase(std::ranges::find(running_, &sequence));")
  plant("holds and waits" runtime/scheduler
    "memory_.Release(sequence.table, step_);\n    sequence.computed = 0;\n    return false;"
    "return false;")
  plant("loses a cancellation while a step runs" runtime/scheduler
    "if (Sequence* const sequence = Find({request, i})) EndSequence(*sequence, reason, status);"
    "if (Sequence* const s = Find({request, i}); s && s->place < 0) EndSequence(*s, reason, status);")
  plant("cancels the first sample alone" runtime/scheduler
    "static_cast<int>(found->second.size())"
    "1")
  plant("loses a drop while a step runs" runtime/scheduler
    "if (Sequence* const sequence = Find(id)) Erase(*sequence);"
    "if (Sequence* const s = Find(id); s && s->place < 0) Erase(*s);")
  plant("frees twice when it preempts" runtime/scheduler
    "  StopRunning(sequence);\n  sequence.computed = 0;"
    "  kv::BlockTable again = sequence.table; StopRunning(sequence); memory_.Release(again, step_); sequence.computed = 0;")
  plant("preempts the most urgent" runtime/scheduler
    "return paused == running_.rend() ? running_.back() : *paused;"
    "return paused == running_.rend() ? running_.front() : *paused;")
  plant("preempts nobody that is paused first" runtime/scheduler
    "running_.rbegin()"
    "running_.rend()")
  plant("counts as computed what it has lost" runtime/scheduler
    "  ++sequence.timeline.preemptions;"
    "  sequence.computed = 1; ++sequence.timeline.preemptions;")
  plant("exceeds the budget" runtime/scheduler
    "options_.step_tokens - plan_.rows()"
    "options_.step_tokens")
  plant("plans prompts before continuations" runtime/scheduler
    "  PlanContinuations();\n  PlanPrompts();"
    "  PlanPrompts();\n  PlanContinuations();")
  plant("leaves out continuations beside a new one" runtime/scheduler
    "GrowForNext(*sequence)"
    "plan_.rows() < 2 && GrowForNext(*sequence)")
  plant("gives all to the first prompt" runtime/scheduler
    "give(0, (left + 1) / 2);"
    "give(0, left);")
  plant("gives the first of both halves" runtime/scheduler
    "for (std::size_t i = 1; i < turn_.size(); ++i) give(i, alike);"
    "for (std::size_t i = 0; i < turn_.size(); ++i) give(i, alike);")
  plant("gives an equal share to the first alone" runtime/scheduler
    "std::max(left / others, options_.memory.cache.block_tokens)"
    "0")
  plant("never ages" runtime/scheduler
    "ageing_.begin()->first <= now_"
    "false")
  plant("ages from the arrival on" runtime/scheduler
    "sequence.waits_since = since;"
    "sequence.waits_since = sequence.job->arrival;")
  plant("forgets earlier waits" runtime/scheduler
    "  sequence.waited += std::max(now_ - sequence.waits_since, Time::duration());"
    "  sequence.waited = {};")
  plant("ignores priorities" runtime/scheduler
    "sequence.aged ? std::numeric_limits<int>::min() : sequence.job->priority"
    "sequence.aged ? std::numeric_limits<int>::min() : 0")
  plant("starts the newest first" runtime/scheduler
    "*waiting_.begin()->second.begin()"
    "*waiting_.begin()->second.rbegin()")
  plant("joins a static batch in place of a paused one" runtime/scheduler
    "if (options_.policy.mode == BatchMode::kStatic) return false;"
    "")
  plant("keeps an idle static batch" runtime/scheduler
    "while (!running_.empty()) Preempt(*running_.back());"
    "")
  plant("gives no place that has become free" runtime/scheduler
    "++may_start;"
    "if (full) may_start = 1;")
  plant("leaves no spare blocks" runtime/scheduler
    "reserve ? 0 : running()"
    "0")
  plant("reserves the prompt alone" runtime/scheduler
    "static_cast<int>(job.prompt.size()) + job.new_tokens\n"
    "static_cast<int>(job.prompt.size())\n")
  plant("forgets first_token_by" runtime/scheduler
    "std::min(job.first_token_by, job.done_by)"
    "job.done_by")
  plant("is late by one" runtime/scheduler
    "deadlines_.begin()->first <= now_"
    "deadlines_.begin()->first < now_")
  plant("leaves a deadline behind" runtime/scheduler
    "  if (sequence.phase == Phase::kRunning) {\n    StopRunning(sequence);\n  } else {\n    StopWaiting(sequence);\n  }\n  deadlines_.erase({DeadlineOf(sequence), sequence.id});"
    "  sequence.phase == Phase::kRunning ? StopRunning(sequence) : StopWaiting(sequence);
       if (DeadlineOf(sequence) <= now_) deadlines_.erase({DeadlineOf(sequence), sequence.id});")
  plant("leaves first_token_by behind" runtime/scheduler
    "  deadlines_.erase({DeadlineOf(sequence), sequence.id});\n  sequence.tokens.push_back(token);"
    "  if (job.samples > 1) deadlines_.erase({DeadlineOf(sequence), sequence.id});
       sequence.tokens.push_back(token);")
  plant("plans the paused" runtime/scheduler
    "sequence->paused || sequence->pending() != 1"
    "sequence->pending() != 1")
  plant("plans prompts of the paused" runtime/scheduler
    "!sequence->paused && sequence->pending() > 1"
    "sequence->pending() > 1")
  plant("loses a resumption" runtime/scheduler
    "if (sequence->phase != Phase::kParked) return;"
    "return;")
  plant("holds samples for ever" runtime/scheduler
    "if (first && sequence.id.sample == 0) ReleaseHeld(sequence);"
    "")
  plant("holds samples of one that was dropped" runtime/scheduler
    "if (sequence.id.sample == 0) ReleaseHeld(sequence);"
    "")
  plant("ends twice" runtime/scheduler
    "  Emit(sequence, {.kind = Event::Kind::kEnd, .reason = reason, .status = status});"
    "  for (int i = 0; i < 2; ++i) Emit(sequence, {.kind = Event::Kind::kEnd, .reason = reason, .status = status});")
  plant("ends one token late" runtime/scheduler
    "sequence.drawn() == job.new_tokens"
    "sequence.drawn() == job.new_tokens + 1")
  plant("cancels who runs beside" runtime/scheduler
    "requests_.find(request)"
    "(running_.empty() ? void() : EndSequence(*running_.front(), reason, status)), requests_.find(request)")
  plant("has no salt" runtime/scheduler
    "sequence.job->cache_salt"
    "std::string()")
  plant("has no salt" runtime/scheduler
    "sequence->job->cache_salt"
    "std::string()")
  plant("keeps what is not computed" runtime/scheduler
    "std::span(sequence->tokens).first(static_cast<std::size_t>(sequence->computed))"
    "std::span(sequence->tokens)")
  plant("shares a block that is not full" runtime/scheduler
    "memory_.Share(first->table, shared, sequence.table)"
    "memory_.Share(first->table, memory_.BlocksFor(shared) * options_.memory.cache.block_tokens, sequence.table)")
  plant("lets no fence fall" runtime/scheduler
    "memory_.Complete(step_);"
    "")

  plant("draws for another position" runtime/step_plan
    "sampling_.back().position = at + 1;"
    "sampling_.back().position = at;")
  plant("scores what it has no logits for" runtime/scheduler
    "own + logits"
    "given")
  plant("takes what is to be scored from the cache" runtime/scheduler
    "sequence.scores() ? static_cast<std::size_t>(sequence.scored) : sequence.tokens.size() - 1"
    "sequence.tokens.size() - 1")
  plant("scores again what was scored before it lost its memory" runtime/step_plan
    "sequence.computed + rows - sequence.scored"
    "rows")
  plant("scores another token" runtime/step_plan
    "sequence.job->given[static_cast<std::size_t>(at)]"
    "sequence.job->given[static_cast<std::size_t>(at)] + 1")
  plant("penalises what the prompt holds alone" runtime/scheduler
    "sequence.penalties.Take(token);"
    "")
  plant("penalises the first sample alone" runtime/scheduler
    "sequence.penalties = shared->penalties;"
    "if (i == 0) sequence.penalties = shared->penalties;")
  plant("draws all samples alike" runtime/step_plan
    "SeedOf(sequence.job->sampling.seed, sequence.id.sample)"
    "sequence.job->sampling.seed")

  plant("waits for no window" runtime/batch_policy
    "now - queue.oldest >= policy.window"
    "true")
  plant("joins a static batch" runtime/batch_policy
    "policy.mode == BatchMode::kContinuous ? std::max(room, 0) : 0"
    "room")
  plant("overfills the batch" runtime/batch_policy
    "max_batch - queue.running"
    "max_batch - queue.running + 1")
  plant("misses a preferred size" runtime/batch_policy
    "size <= waiting"
    "size < waiting")
  plant("sleeps through the window" runtime/batch_policy
    "queue.oldest + policy.window"
    "Time::max()")

  plant("counts more than it shares" kv/paged_memory
    "blocks * block_tokens_"
    "tokens")
  plant("wants a block too many" kv/paged_memory
    "tokens % block_tokens_ > 0 ? 1 : 0"
    "1")
  plant("grows by a block too many" kv/paged_memory
    "BlocksFor(tokens) - static_cast<int>(table.blocks.size())"
    "BlocksFor(tokens) - static_cast<int>(table.blocks.size()) + 1")
  plant("shares without a reference" kv/paged_memory
    "for (const BlockId block : table.blocks) pool_.AddReference(block);"
    "")

  plant("frees what another holds" kv/block_pool
    "--at(block).references > 0"
    "--at(block).references > 1")
  plant("has no generations" kv/block_pool
    "++at(block).generation;"
    "")
  plant("keeps the fence of the first to let go" kv/block_pool
    "std::max(at(block).fence, fence)"
    "at(block).fence == 0 ? fence : at(block).fence")

  plant("takes hashes for tokens" kv/prefix_cache
    "std::ranges::equal(TokensOf(block), key.tokens)"
    "true")
  plant("takes any parent" kv/prefix_cache
    "entry.parent == key.parent"
    "true")
  plant("evicts what is held" kv/prefix_cache
    "if (pool_.references(block) == 1) LeaveIdle(block);"
    "")
  plant("ignores the quota" kv/prefix_cache
    "idle.size() > options_.quota"
    "false")
  plant("leaves a salt behind" kv/prefix_cache
    "if (--salt.second.entries == 0) salts_.erase(salts_.find(salt.first));"
    "--salt.second.entries;")

  set(written "")
  foreach(file IN LISTS files)
    set(copy ${CMAKE_CURRENT_BINARY_DIR}/planted/${file}.cc)
    write_changed(${copy} "#include \"runtime/planted_bugs.h\"\n${planted_${file}}")
    list(APPEND written ${copy})
  endforeach()
  list(JOIN planted_names "\",\n\"" names)
  write_changed(${CMAKE_CURRENT_BINARY_DIR}/planted/planted_names.inc "\"${names}\",\n")
  set(${sources} ${written} PARENT_SCOPE)
endfunction()

# Leaves a file alone that holds `text` already, so that nothing is compiled anew for it.
function(write_changed path text)
  if(EXISTS ${path})
    file(READ ${path} present)
    if(present STREQUAL text)
      return()
    endif()
  endif()
  file(WRITE ${path} "${text}")
endfunction()
