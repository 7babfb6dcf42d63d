package dev.freshet.example;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.freshet.client.Answer;
import dev.freshet.client.Client;
import dev.freshet.client.Codec;
import dev.freshet.client.Key;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.sql.SQLException;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;

/**
 * GET /products/{id} over Postgres, read through the sidecar.
 *
 * <pre>
 * mvn -f .. package dependency:copy-dependencies -DoutputDirectory=target/lib
 * JDBC_URL=jdbc:postgresql://localhost/shop java -cp 'target/classes:target/lib/*' dev.freshet.example.Products
 * </pre>
 */
public final class Products {
    private static final Pattern PATH = Pattern.compile("/products/([0-9]{1,9})");
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Codec<Product> CODEC = Codec.cbor(Product.class);

    private final Client client = new Client();
    private final DataSource database;

    /** A row. */
    public record Product(int id, String name, String price) {}

    private Products(DataSource database) {
        this.database = database;
    }

    /** The program. */
    public static void main(String[] arguments) throws IOException {
        // An application has a pool here.
        var database = new PGSimpleDataSource();
        database.setURL(System.getenv("JDBC_URL"));
        String[] listen = System.getenv().getOrDefault("LISTEN", "127.0.0.1:8080").split(":");
        var server = HttpServer.create(new InetSocketAddress(listen[0], Integer.parseInt(listen[1])), 0);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/products/", new Products(database)::serve);
        server.start();
    }

    private Product readProduct(int id) throws SQLException {
        String query = "SELECT id, name, price::text FROM inventory.product WHERE id = ?";
        try (var connection = database.getConnection();
                var statement = connection.prepareStatement(query)) {
            statement.setInt(1, id);
            var row = statement.executeQuery();
            // null: there is no such row.
            return row.next() ? new Product(row.getInt(1), row.getString(2), row.getString(3)) : null;
        }
    }

    private void serve(HttpExchange exchange) throws IOException {
        try {
            var path = PATH.matcher(exchange.getRequestURI().getPath());
            if (!path.matches()) {
                exchange.sendResponseHeaders(404, -1);
                return;
            }
            int id = Integer.parseInt(path.group(1));
            Answer<Product> answer = client.getOrLoad("products", Key.of(id), CODEC, fill -> readProduct(id));
            Product product = answer.value();
            byte[] body = MAPPER.writeValueAsBytes(product == null ? "there is no such product" : product);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.getResponseHeaders().set("X-Cache", answer.status().name().toLowerCase(java.util.Locale.ROOT));
            exchange.sendResponseHeaders(product == null ? 404 : 200, body.length);
            exchange.getResponseBody().write(body);
        } catch (SQLException e) {
            // The database's: the cache throws nothing.
            System.getLogger("products").log(System.Logger.Level.ERROR, "reading a product", e);
            exchange.sendResponseHeaders(500, -1);
        } finally {
            exchange.close();
        }
    }
}
