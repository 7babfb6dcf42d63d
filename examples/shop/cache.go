package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// The media type of JSON values.
const jsonType = "application/json"

// Cache is the sidecar beside this container, over the Unix socket that injection mounts.
type Cache struct{ client *http.Client }

// NewCache talks to the sidecar at the socket. Without one (an empty path) it answers every read with an error, as a
// sidecar does that is down: the shop works either way.
func NewCache(socket string) *Cache {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}
	// A cache that is slower than the database is of no use.
	return &Cache{&http.Client{Transport: transport, Timeout: 250 * time.Millisecond}}
}

// Answer is what the cache says about a key.
type Answer struct {
	// Hit: Value is current; nil stands for "there is no such row".
	Hit   bool
	Value []byte
	// On a miss: permission to store what is read from the database from now on. Empty: nothing would be stored.
	Lease string
}

// Get asks for a key. The error says that the sidecar could not be asked.
func (c *Cache) Get(ctx context.Context, cache, key string) (Answer, error) {
	response, err := c.do(ctx, http.MethodGet, cache, key, nil, nil)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	// Not the status: 404 is both "not cached" and "known to be absent".
	if !strings.HasPrefix(response.Header.Get("Cache-Status"), "freshet; hit") {
		return Answer{Lease: response.Header.Get("Freshet-Lease")}, nil
	}
	if response.StatusCode == http.StatusNotFound {
		return Answer{Hit: true}, nil
	}
	return Answer{Hit: true, Value: body}, nil
}

// Vouches says whether values of this cache would be served: a sidecar that has just started stores them, but serves
// none before it has seen that it follows the changes. It asks without taking a lease.
func (c *Cache) Vouches(ctx context.Context, cache, key string) bool {
	response, err := c.do(ctx, http.MethodHead, cache, key, nil, nil)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	status := response.Header.Get("Cache-Status")
	return status != "" && !strings.Contains(status, "fwd=stale")
}

// Put stores what was read with the lease; nil stands for "there is no such row". False: a change came in between,
// so the value may be used once and is not kept.
func (c *Cache) Put(ctx context.Context, cache, key, lease string, value []byte) (bool, error) {
	headers := map[string]string{"Freshet-Lease": lease, "Content-Type": jsonType}
	if value == nil {
		headers["Freshet-Absent"] = "?1"
	}
	response, err := c.do(ctx, http.MethodPut, cache, key, headers, value)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	problem, _ := io.ReadAll(response.Body)
	switch response.StatusCode {
	case http.StatusNoContent:
		return true, nil
	case http.StatusConflict:
		return false, nil
	default:
		return false, fmt.Errorf("storing %s/%s: %s %s", cache, key, response.Status, problem)
	}
}

func (c *Cache) do(ctx context.Context, method, cache, key string, headers map[string]string, body []byte) (*http.Response, error) {
	url := "http://freshet/v1/" + cache + "/" + key
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	return c.client.Do(request)
}
