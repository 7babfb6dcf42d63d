// A small shop that reads products through the cache beside it.
//
//	shop                       serves GET /product/{id}, /row/{id} and /page/{category}
//	shop once ID               waits for the cache, reads a product until it is cached, ends (for a Job)
//	shop measure [-runs N] [-id ID] URL...
//	                           how long after a commit each replica answers with the new price
//
// The database is named by the PG* environment variables, the cache's socket by FRESHET_SOCKET. SHOP_LISTEN is where it
// serves, :8080 unless set; SHOP_CHECK where the sidecar asks what it would fill, 127.0.0.1:8081 unless set.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	freshet "github.com/freshet-dev/freshet/clients/go"
	_ "github.com/lib/pq"
)

func main() {
	log.SetFlags(log.Lmicroseconds)
	// The first process of a container ignores signals that it doesn't handle.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	database, err := sql.Open("postgres", "sslmode=disable connect_timeout=5")
	if err != nil {
		return err
	}
	defer database.Close()
	// Each replica keeps some connections open: making one costs more than most queries.
	database.SetMaxIdleConns(8)
	client, err := freshet.New(freshet.Config{})
	if err != nil {
		return err
	}
	defer client.Close()
	shop := &Shop{client, database}
	switch {
	case len(args) == 0:
		return serve(ctx, shop)
	case args[0] == "once" && len(args) == 2:
		id, err := strconv.Atoi(args[1])
		if err != nil {
			return fmt.Errorf("once: %q is not an id", args[1])
		}
		return once(ctx, shop, id)
	case args[0] == "measure":
		return measure(ctx, database, args[1:])
	default:
		return fmt.Errorf("shop, shop once ID or shop measure URL..., not: shop %q", args)
	}
}

func serve(ctx context.Context, shop *Shop) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /product/{id}", answer("product", shop.Product))
	mux.HandleFunc("GET /row/{id}", answer("row", shop.Row))
	mux.HandleFunc("GET /page/{id}", answer("page", shop.Page))
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: setting("SHOP_LISTEN", ":8080"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	checker, err := serveChecks(shop)
	if err != nil {
		return err
	}
	defer checker.Close()
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(drain)
	}()
	log.Printf("serving at %s, cache at %q", server.Addr, os.Getenv("FRESHET_SOCKET"))
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// At an address of its own, because it shows the database's rows to whoever asks. Not by looking where requests come
// from: with a proxy in the pod, as of a service mesh, all of them come from loopback.
func serveChecks(shop *Shop) (*http.Server, error) {
	listener, err := net.Listen("tcp", setting("SHOP_CHECK", "127.0.0.1:8081"))
	if err != nil {
		return nil, err
	}
	if address, ok := listener.Addr().(*net.TCPAddr); !ok || !address.IP.IsLoopback() {
		listener.Close()
		return nil, fmt.Errorf("SHOP_CHECK is a loopback address, not %s: it shows the database's rows", listener.Addr())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /freshet/check", shop.check)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener)
	return server, nil
}

// An environment variable, or what it is unless set.
func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func answer(what string, read func(context.Context, int) (Read, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			http.Error(w, "an id is a number", http.StatusBadRequest)
			return
		}
		got, err := read(r.Context(), id)
		if err != nil {
			log.Printf("%s %d: %v", what, id, err)
			http.Error(w, "the database can't be read", http.StatusBadGateway)
			return
		}
		show(what, id, got)
		w.Header().Set("Content-Type", jsonType)
		if got.Product == nil {
			w.WriteHeader(http.StatusNotFound)
		}
		// The client may have left.
		_ = json.NewEncoder(w).Encode(got)
	}
}

// Reads the product until the cache has it. Services just start reading; a Job, whose life is short, does well to wait
// a moment until the sidecar that started with it is of use.
func once(ctx context.Context, shop *Shop, id int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	started := time.Now()
	for !vouches(ctx, shop.cache) {
		if !pause(ctx) {
			return errors.New("the cache was of no use in time")
		}
	}
	log.Printf("the cache was of use after %d ms", time.Since(started).Milliseconds())
	for {
		got, err := shop.Product(ctx, id)
		if err != nil {
			return err
		}
		show("product", id, got)
		if got.Source == "cache" {
			return nil
		}
		if !pause(ctx) {
			return fmt.Errorf("product %d: not cached in time", id)
		}
	}
}

// Whether values would be served: a sidecar that has just started stores them, but serves none before it has seen that it
// follows the changes. It asks for no product there is: whoever misses a key is taken to be loading it.
func vouches(ctx context.Context, client *freshet.Client) bool {
	status := client.Get(ctx, "products", freshet.Columns(0)).Status
	return status == freshet.Hit || status == freshet.Miss
}

// A moment; false when there is no time left.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(20 * time.Millisecond):
		return true
	}
}

func show(what string, id int, got Read) {
	stored := ""
	if got.stored {
		stored = ", stored"
	}
	log.Printf("%s %d: %s, %d µs%s", what, id, got.Source, got.Micros, stored)
}
