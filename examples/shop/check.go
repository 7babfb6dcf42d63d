package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"strconv"

	freshet "github.com/freshet-dev/freshet/clients/go"
)

// The sidecar asks here what the shop would fill for a key, and compares it with what is cached: `audit` in the binding.
// It is read by the query that fills, from the database, never from the cache.
func (s *Shop) check(w http.ResponseWriter, r *http.Request) {
	cache, key := r.URL.Query().Get("cache"), r.URL.Query().Get("key")
	if _, fills := queries[cache]; !fills {
		http.Error(w, fmt.Sprintf("the shop fills nothing into a cache %q", cache), http.StatusBadRequest)
		return
	}
	id, err := strconv.Atoi(key)
	// The number in another form is the key of nothing.
	if err != nil || strconv.Itoa(id) != key {
		http.Error(w, fmt.Sprintf("a key of %s is an id such as 7, not %q", cache, key), http.StatusBadRequest)
		return
	}
	value, err := s.load(r.Context(), cache, id)
	if errors.Is(err, freshet.ErrAbsent) {
		// A 404 alone is what a wrong path answers.
		w.Header().Set("Freshet-Absent", "?1")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err != nil {
		log.Printf("check %s/%s: %v", cache, key, err)
		http.Error(w, "the database can't be read", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	// The client may have left.
	_, _ = w.Write(value)
}
