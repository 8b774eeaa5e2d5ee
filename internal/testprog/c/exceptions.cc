// SPDX-License-Identifier: Apache-2.0
// C++: threads that throw and catch all the time, one that is inside a catch block during the dump, thread_local objects,
// futures, condition variables, a stopped stack unwinding after the restore.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include "trapline_test.h"
}

struct Error : std::runtime_error {
	int n;
	Error(int n) : std::runtime_error("error " + std::to_string(n)), n(n) {}
};

static std::atomic<bool> stop, go;
static std::atomic<long> caught, wrong, destroyed;
static std::mutex mu;
static std::condition_variable cv;
static std::atomic<int> waiting;

struct Counted {
	int n;
	Counted(int n) : n(n) {}
	~Counted() { destroyed++; }
};

static thread_local std::unique_ptr<Counted> local;

static int dig(int depth, int n)
{
	Counted c(depth);
	if (!depth)
		throw Error(n);
	return dig(depth - 1, n) + c.n;
}

static void thrower(int id)
{
	local = std::make_unique<Counted>(id);
	for (int n = 0; !stop; n++) {
		try {
			dig(20, n);
			wrong++;
		} catch (const Error &e) {
			if (e.n != n || e.what() != "error " + std::to_string(n) || local->n != id)
				wrong++;
			caught++;
		}
	}
}

static void inside(int id)
{
	try {
		dig(10, id);
	} catch (const Error &) {
		try {
			std::unique_lock<std::mutex> lock(mu);
			waiting++;
			cv.wait(lock, [] { return go.load(); });
			throw; // the exception is still there
		} catch (const Error &e) {
			if (e.n != id)
				wrong++;
			caught++;
			return;
		}
	}
	wrong++;
}

int main()
{
	std::vector<std::thread> threads;
	std::map<std::string, std::shared_ptr<Counted>> objects;

	for (int i = 0; i < 5000; i++)
		objects["object " + std::to_string(i)] = std::make_shared<Counted>(i);
	for (int i = 0; i < 4; i++)
		threads.emplace_back(thrower, i);
	for (int i = 0; i < 4; i++)
		threads.emplace_back(inside, 100 + i);
	std::promise<int> promise;
	auto future = promise.get_future();
	std::thread async([&] { promise.set_value([] {
		std::unique_lock<std::mutex> lock(mu);
		waiting++;
		cv.wait(lock, [] { return go.load(); });
		return 7;
	}()); });
	while (waiting < 5 || caught < 100)
		std::this_thread::yield();
	tt_wait();
	long before = caught;
	while (caught < before + 100)
		std::this_thread::yield();
	{
		std::lock_guard<std::mutex> lock(mu);
		go = true;
	}
	cv.notify_all();
	stop = true;
	for (auto &t : threads)
		t.join();
	async.join();
	CHECK(future.get() == 7, "the future");
	CHECK(wrong == 0, "%ld exceptions were wrong", wrong.load());
	for (int i = 0; i < 5000; i++)
		CHECK(objects.at("object " + std::to_string(i))->n == i, "object %d", i);
	try {
		dig(100, 5);
		CHECK(0, "no exception");
	} catch (const std::exception &e) {
		CHECK(std::string(e.what()) == "error 5", "caught %s", e.what());
	}
	tt_done();
}
