<?php

// Composer's autoloader where there is one; else the interfaces as Debian packages them.

declare(strict_types=1);

if (is_file(__DIR__ . '/../vendor/autoload.php')) {
    require __DIR__ . '/../vendor/autoload.php';

    return;
}

foreach (['Psr/Http/Client', 'Nyholm/Psr7', 'Psr/Log', 'Symfony/Component/Messenger', 'Illuminate/Broadcasting'] as $package) {
    $file = "/usr/share/php/$package/autoload.php";
    if (is_file($file)) {
        require_once $file;
    }
}

spl_autoload_register(static function (string $class): void {
    foreach (['Vidette\\Tests\\' => __DIR__, 'Vidette\\' => __DIR__ . '/../src'] as $prefix => $folder) {
        $file = $folder . '/' . str_replace('\\', '/', substr($class, strlen($prefix))) . '.php';
        if (str_starts_with($class, $prefix) && is_file($file)) {
            require $file;

            return;
        }
    }
});
