// Package freshet reads through a Freshet sidecar, and past it when it is down.
//
//	client, err := freshet.New(freshet.Config{})
//	product, _, err := freshet.GetOrLoad(ctx, client, "products", freshet.Columns(7), readProduct)
//
// Whatever becomes of the sidecar, the loader is called and its value returned: no error of a read comes from the cache. What
// can't be published is a PublishError.
package freshet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// ErrAbsent is what a loader returns where there is no such row. It is cached, too: GetOrLoad returns it from then on
// without calling the loader.
var ErrAbsent = errors.New("there is no such row")

// Config says where the sidecar is and how long it may take. Its zero value is what most programs want.
type Config struct {
	// Address is a socket's path or a URL. Where it is empty FRESHET_SOCKET and FRESHET_URL are tried in this order, and
	// without these the places where a sidecar listens by default.
	Address string
	// Timeout bounds each request; a read that waits may take Wait longer. Default: 250 ms.
	Timeout time.Duration
	// ConnectTimeout bounds connecting. Default: 50 ms.
	ConnectTimeout time.Duration
	// Wait is how long somebody else's load, or the log, is waited for unless a read says otherwise. Default: 1 s;
	// negative: not at all.
	Wait time.Duration
	// MaxIdle is how many unused connections are kept. Default: 32.
	MaxIdle int
	// OnProblem is told of each kind of mistake once, by cache and problem. Default: slog's default logger is.
	OnProblem func(cache, problem string)
}

// Client reads through one sidecar, from any number of goroutines.
type Client struct {
	exchange  *exchange
	wait      time.Duration
	onProblem func(cache, problem string)
	told      sync.Map
}

// New makes a client. Nothing is connected before the first read; the error is of an address that is none.
func New(config Config) (*Client, error) {
	set(&config.Timeout, 250*time.Millisecond)
	set(&config.ConnectTimeout, 50*time.Millisecond)
	set(&config.Wait, time.Second)
	set(&config.MaxIdle, 32)
	if config.OnProblem == nil {
		config.OnProblem = func(cache, problem string) {
			slog.Warn("freshet", "cache", cache, "problem", problem)
		}
	}
	exchange, err := newExchange(config)
	if err != nil {
		return nil, err
	}
	return &Client{exchange: exchange, wait: config.Wait, onProblem: config.OnProblem}, nil
}

// Close closes idle connections. A closed client can be used again.
func (c *Client) Close() { c.exchange.http.CloseIdleConnections() }

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Fill is how a loaded value is stored. The loader gets it and may change it: what a page depends on is often known
// only when it was read.
type Fill struct {
	// Depends is what Table, Row and Tag make: inventory.product, inventory.category/7, tag:home.
	Depends []string
	// Position is where the value was read: cdc="snap:725:727:725".
	Position string
	// MaxAge is how long the value may live, below the cache's ttl; 0: as long as that.
	MaxAge time.Duration
}

// Option changes how one read is done, or how what it loads is stored.
type Option func(*options)

type options struct {
	fill        Fill
	codec       Codec
	wait        time.Duration
	minPosition string
	noCache     bool
}

// Wait is how long somebody else's load, or the log, is waited for.
func Wait(wait time.Duration) Option { return func(o *options) { o.wait = wait } }

// MinPosition asks for a value that reflects at least this position: cdc="lsn:0/157D6E8".
func MinPosition(position string) Option { return func(o *options) { o.minPosition = position } }

// NoCache loads in any case and replaces what is stored.
func NoCache() Option { return func(o *options) { o.noCache = true } }

// Depends are the fill's dependencies besides the cache's own.
func Depends(items ...string) Option { return func(o *options) { o.fill.Depends = items } }

// Position is where the value is read.
func Position(position string) Option { return func(o *options) { o.fill.Position = position } }

// MaxAge is how long the value may live, below the cache's ttl.
func MaxAge(age time.Duration) Option { return func(o *options) { o.fill.MaxAge = age } }

// WithCodec stores values otherwise than as CBOR.
func WithCodec(codec Codec) Option { return func(o *options) { o.codec = codec } }

func (c *Client) options(wait time.Duration, given []Option) options {
	o := options{codec: CBOR, wait: wait}
	for _, option := range given {
		option(&o)
	}
	return o
}

// GetOrLoad is the cached value, or what load reads, which is then stored. load reads the database, outside any
// transaction that has written. The error is load's; ErrAbsent may come from the cache.
func GetOrLoad[T any](
	ctx context.Context,
	c *Client,
	cache string,
	key Key,
	load func(context.Context, *Fill) (T, error),
	given ...Option,
) (T, Answer, error) {
	o := c.options(c.wait, given)
	// Whoever is behind waits for the log from the start. Whoever finds somebody loading asks again, and then waits: that
	// sidecar is known to answer.
	first := time.Duration(0)
	if o.minPosition != "" {
		first = o.wait
	}
	found := c.get(ctx, cache, key, first, o.minPosition, o.noCache, accept(o.codec))
	if found.Fill == "other" && o.wait > 0 && first == 0 && !o.noCache {
		found = c.get(ctx, cache, key, o.wait, "", false, accept(o.codec))
	}
	var value T
	if found.Found && found.Bytes == nil {
		return value, found, ErrAbsent
	}
	if found.Found {
		if err := decode(o.codec, found, &value); err == nil {
			return value, found, nil
		}
		c.tell(cache, "undecodable")
		// Another version of the application stored it. It is replaced.
		var fresh T
		value = fresh
		found = c.get(ctx, cache, key, 0, "", true, "")
		found.Detail = "undecodable"
	}
	fill := o.fill
	fill.Depends = append([]string(nil), fill.Depends...)
	value, err := load(ctx, &fill)
	absent := errors.Is(err, ErrAbsent)
	if found.Lease != "" && (err == nil || absent) {
		// What was read is of use to others though this reader may be gone.
		found.Stored = c.store(context.WithoutCancel(ctx), cache, key, found.Lease, value, absent, o.codec, fill)
	}
	return value, found, err
}

// Get is what is cached, as the bytes that are stored; on a miss with a lease for Put. It waits only if it is told to.
func (c *Client) Get(ctx context.Context, cache string, key Key, given ...Option) Answer {
	o := c.options(0, given)
	return c.get(ctx, cache, key, o.wait, o.minPosition, o.noCache, "")
}

// Put stores what was read after the lease was given: "stored", "fenced", "unavailable", "unencodable" or a problem. A
// nil value stands for "there is no such row".
func (c *Client) Put(ctx context.Context, cache string, key Key, lease string, value any, given ...Option) string {
	o := c.options(0, given)
	return c.store(ctx, cache, key, lease, value, value == nil, o.codec, o.fill)
}

// Delete drops a value in this pod: "deleted", "unavailable" or a problem. It is tried even while reads are paused.
func (c *Client) Delete(ctx context.Context, cache string, key Key) string {
	path, ok := key.path(cache)
	if !ok {
		return "key-syntax"
	}
	response, why := c.exchange.do(ctx, request{method: "DELETE", path: path})
	if why != "" {
		return "unavailable"
	}
	return response.change("deleted")
}

// InvalidateTag voids what depends on a tag in this pod: "invalidated", "unavailable" or a problem. As Delete, it is
// always tried.
func (c *Client) InvalidateTag(ctx context.Context, text string) string {
	response, why := c.exchange.do(ctx, request{method: "POST", path: "/v1/_tags/" + escaped(text)})
	if why != "" {
		return "unavailable"
	}
	return response.change("invalidated")
}

func (c *Client) tell(cache, problem string) {
	if _, before := c.told.LoadOrStore([2]string{cache, problem}, true); !before {
		c.onProblem(cache, problem)
	}
}
