// SPDX-License-Identifier: Apache-2.0

//go:build ignore

package main

/*
#include <pthread.h>
#include <stdlib.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int go, done;
static __thread int mine;
static void *run(void *arg)
{
	mine = *(int *)arg;
	pthread_mutex_lock(&m);
	while (!go)
		pthread_cond_wait(&c, &m);
	done += mine;
	pthread_mutex_unlock(&m);
	return NULL;
}
static pthread_t th[8];
static int args[8];
static int start(void)
{
	for (int i = 0; i < 8; i++) {
		args[i] = i + 1;
		if (pthread_create(&th[i], NULL, run, &args[i]))
			return 1;
	}
	return 0;
}
static int finish(void)
{
	pthread_mutex_lock(&m);
	go = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < 8; i++)
		pthread_join(th[i], NULL);
	return done;
}
*/
import "C"

import "fmt"

func init() {
	more = func() (start, check func() error) {
		return func() error {
				if C.start() != 0 {
					return fmt.Errorf("pthread_create")
				}
				return nil
			}, func() error {
				if n := C.finish(); n != 36 {
					return fmt.Errorf("C threads added up to %d, expected 36", n)
				}
				return nil
			}
	}
}
